"""What makes two asks the same one: the key of a request, and the state of its workspace.

``key`` hashes everything that can change an answer and is known before the spawn. ``fingerprint``
says whether the workspace still is what it was. ``repository`` reads Git's own files. Nothing here
knows the recorder: who joins, collects or reuses what is decided where jobs are claimed.
"""
