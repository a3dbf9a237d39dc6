"""The least that a model for llm can do with a CLI: start it, read its lines, yield their text."""

import json
import os
import shlex
import subprocess

import llm


class Floor(llm.Model):
    model_id, can_stream = "floor", True

    def execute(self, prompt, stream, response, conversation):
        argv = shlex.split(os.environ["FLOOR_CLI"])
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            child.stdin.write(prompt.prompt.encode() + b"\n")
            child.stdin.close()
            for line in child.stdout:
                event = json.loads(line)
                if event["type"] == "stream_event" and "delta" in event["event"]:
                    yield event["event"]["delta"].get("text", "")


@llm.hookimpl
def register_models(register):
    register(Floor())
