"""Tables of the documentation, made from the code by cog so that they cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterable

from llm_gateway.providers.base import Provider

__all__ = [
    "access_table",
    "approval_table",
    "command_sections",
    "exit_table",
    "native_table",
    "optimizer_list",
    "option_table",
    "policy_table",
    "provider_table",
    "setting_table",
]


def option_table() -> str:
    """Every ``-o`` option, its type, and the models that have it."""
    from llm_gateway.options import OPTIONS, options_class
    from llm_gateway.providers import all_providers

    offered = {p.name: options_class(p).model_json_schema() for p in all_providers().values()}
    rows = []
    for option in OPTIONS:
        names = [n for n, schema in offered.items() if option.name in schema["properties"]]
        on = "all" if len(names) == len(offered) else ", ".join(names)
        rows.append((f"`{option.name}`", option.meaning, on))
    return _table(("option", "what it says", "models"), rows)


def access_table() -> str:
    """What each access level was seen to allow, per CLI."""
    from llm_gateway.providers import all_providers

    rows = [
        (f"`{provider.name}`", *(level.allows for level in provider.levels.values()))
        for provider in all_providers().values()
    ]
    return _table(("", "`read`", "`edit`", "`full`"), rows)


def provider_table() -> str:
    """What a person can choose a provider by."""
    from llm_gateway.providers import all_providers

    providers = list(all_providers().values())
    rows = [
        ("`llm -m`", *(f"`gateway-{p.name}`" for p in providers)),
        ("what runs", *(p.title for p in providers)),
        ("install with", *(f"`{p.install}`" for p in providers)),
        ("text", *("as it is written" if p.streams_text else "whole messages" for p in providers)),
        ("`-c` resumes", *(_resumes(p) for p in providers)),
        ("a second reply to one answer", *(_branches(p) for p in providers)),
        ("attachments", *(", ".join(sorted(p.attachment_types)) for p in providers)),
        ("longest prompt", *(_longest(p) for p in providers)),
        ("`effort`", *(", ".join(p.efforts) or "no" for p in providers)),
    ]
    for note in providers[0].notes:
        rows.append((note, *(p.notes[note] for p in providers)))
    return _table(("", *(p.name for p in providers)), rows)


def native_table() -> str:
    """The CLIs' own permission words, and the access level that each stands for."""
    from llm_gateway.providers import all_providers

    rows = [
        (f"`{p.name}`", f"`-o {option}`", ", ".join(f"{w} ({a.value})" for w, a in words.items()))
        for p in all_providers().values()
        for option, words in p.native_words.items()
    ]
    return _table(("", "option", "words, and the access that each needs"), rows)


def _resumes(provider: Provider) -> str:
    return "from any directory" if provider.resumes_anywhere else "in the session's directory"


def _branches(provider: Provider) -> str:
    if provider.forks_at_message:
        return "a copy of the session up to that answer"
    return "the transcript in a new session"


def _longest(provider: Provider) -> str:
    limit = provider.prompt_limit
    return provider.notes.get("longest prompt", "no limit") if limit is None else f"{limit:,} bytes"


def setting_table() -> str:
    """Every environment variable that is read."""
    from llm_gateway.settings import SETTINGS

    rows = [(f"`{s.name}`", s.meaning, s.default or "") for s in SETTINGS]
    return _table(("variable", "what it says", "default"), rows)


def approval_table() -> str:
    """Every rule of approval: what it counts, and when."""
    from llm_gateway.policy.approval import RULES

    rows = [(f"`{rule.name}`", f"{rule.points:+d}", rule.meaning) for rule in RULES]
    return _table(("rule", "points", "holds where"), rows)


def policy_table() -> str:
    """What each approval policy does with a score."""
    from llm_gateway.policy.approval import POLICIES

    rows = [
        (f"`{name}`", "asks you" if most is None else f"approves at most {most}")
        for name, most in POLICIES.items()
    ]
    return _table(("policy", ""), rows)


def optimizer_list() -> str:
    """What the optimiser does, in its order."""
    from llm_gateway.optimizer import RULES

    return "\n".join(f"1. {rule.meaning}" for rule in RULES)


def exit_table() -> str:
    """Every exit code of the gateway's own commands, and the error categories that end with it."""
    from llm_gateway.commands.exits import CODES, MEANINGS

    rows = [
        (str(code), meaning, ", ".join(f"`{name}`" for name, ends in CODES.items() if ends == code))
        for code, meaning in MEANINGS.items()
    ]
    return _table(("code", "what it says", "error categories"), rows)


def command_sections() -> str:
    """The help of every command."""
    import click

    from llm_gateway.commands import group

    def sections(command: click.Command, parent: click.Context, level: int) -> Iterable[str]:
        context = click.Context(command, info_name=command.name, parent=parent, terminal_width=88)
        yield f"{'#' * level} {context.command_path}\n\n```\n{command.get_help(context)}\n```"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                yield from sections(child, context, level + 1)

    root = click.Context(group, info_name="llm gateway", help_option_names=["-h", "--help"])
    commands = [group.get_command(root, name) for name in group.list_commands(root)]
    return "\n\n".join(text for c in commands if c is not None for text in sections(c, root, 2))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
