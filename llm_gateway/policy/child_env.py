"""The environment of a vendor's CLI: what it needs to work, and nothing else.

A CLI gets what every program needs, the toolchain that its agent works with, and the variables of
its own vendor. It does not get other vendors' keys, cloud or repository tokens, nor variables that
make a loader or an interpreter run other code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ..records import field, record
from ..request import Access
from ..wildcards import matches

__all__ = [
    "ACCESS_CAP",
    "APPROVAL_POLICY",
    "FULL_ACCESS_SWITCH",
    "VendorVariables",
    "child_environment",
    "is_secret",
    "sure_places",
]

FULL_ACCESS_SWITCH = "LLM_GATEWAY_ALLOW_FULL_ACCESS"
ACCESS_CAP = "LLM_GATEWAY_ACCESS_CAP"
APPROVAL_POLICY = "LLM_GATEWAY_APPROVAL_POLICY"

COMMON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("TERM", "COLORTERM", "XDG_*", "LLM_GATEWAY_*", "LLM_USER_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    "NODE_EXTRA_CA_CERTS",
)
TOOLCHAIN = (
    *(
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PYENV_ROOT",
        "PIPX_HOME",
        "UV_CACHE_DIR",
    ),
    *("CARGO_HOME", "RUSTUP_HOME", "GOPATH", "GOROOT", "GOMODCACHE", "GOCACHE", "JAVA_HOME"),
    *("MAVEN_HOME", "GRADLE_HOME", "GRADLE_USER_HOME", "ANDROID_HOME", "ANDROID_SDK_ROOT"),
    *("NVM_DIR", "NVM_BIN", "VOLTA_HOME", "FNM_DIR", "PNPM_HOME", "BUN_INSTALL", "DENO_DIR"),
    *("NPM_CONFIG_PREFIX", "RBENV_ROOT", "GEM_HOME", "GEM_PATH", "DOTNET_ROOT", "SDKMAN_DIR"),
    *("ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "HOMEBREW_PREFIX", "NIX_PROFILES", "NIX_PATH"),
    *("CC", "CXX", "MAKEFLAGS", "CMAKE_PREFIX_PATH", "PKG_CONFIG_PATH"),
)
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "CREDENTIALS")
CLOUD = ("AWS_", "GOOGLE_", "AZURE_")


@record(frozen=True)
class VendorVariables:
    """Which variables are a vendor's own.

    :param names: patterns that pass always.
    :param without: names that never pass, although a pattern matches.
    :param switched: pattern → the switches of which one has to be on for it to pass.
    """

    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    switched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def pass_(self, name: str, environ: Mapping[str, str]) -> bool:
        if name in self.without:
            return False
        if matches(name, self.names):
            return True
        return matches(name, tuple(self.switched)) and any(
            matches(name, (pattern,)) and any(_is_on(environ.get(s)) for s in switches)
            for pattern, switches in self.switched.items()
        )


def child_environment(
    environ: Mapping[str, str],
    vendor: VendorVariables,
    access: Access,
    pass_env: Iterable[str] = (),
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the child's environment, and the names of the secrets that were withheld."""
    environ, extra = dict(environ), set(pass_env)
    kept, withheld = {}, []
    for name, value in environ.items():
        if name in extra or _passes(name, vendor, access, environ):
            kept[name] = value
        elif is_secret(name):
            withheld.append(name)
    kept[ACCESS_CAP] = access.value
    if access is not Access.FULL:
        kept.pop(FULL_ACCESS_SWITCH, None)
        if "PATH" in kept:
            kept["PATH"] = sure_places(kept["PATH"]) or os.defpath
    return kept, tuple(sorted(withheld))


def is_secret(name: str) -> bool:
    """Whether a variable of this name is likely to hold a key or a password."""
    return name.startswith(CLOUD) or any(
        name.endswith(word) or f"{word}_" in name for word in SECRET
    )


def sure_places(path: str) -> str:
    """Return a PATH without relative and empty entries: those would be the workspace's own."""
    return os.pathsep.join(filter(os.path.isabs, path.split(os.pathsep)))


def _passes(name: str, vendor: VendorVariables, access: Access, environ: Mapping[str, str]) -> bool:
    if name == "SSH_AUTH_SOCK":
        return access is not Access.READ
    return matches(name, COMMON) or name in TOOLCHAIN or vendor.pass_(name, environ)


def _is_on(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "no", "off")
