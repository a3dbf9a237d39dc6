"""The flight recorder: one SQLite file in which every request, attempt, event and failure is a row.

    recorder.py          open_recorder(): a usable recorder, whatever state its file is in
    recording.py         what a run calls; never raises, never waits long
    writer.py            takes operations to the database, or to the spill file
    buffer.py rows.py    what is written, prepared
    location.py          which file is ours; makes it, sets a corrupt one aside
    connection.py        opening, and the one way to write
    schema.py            the tables and views, as SQL with reasons
    second.py            what the second schema adds to them
    rollups.py           sums and durations by hour and by day
    search.py            the full-text index
    migrations.py        brings a file to that schema
    operations.py        each write as one function of JSON-safe arguments
    codec.py             events as rows and back
    sessions.py          the vendor's sessions
    spill.py             where operations go that SQLite would not take
    owner.py             who runs a job, so that others can tell whether it lives
    prune.py             what is too old
    import_original.py   rows of the original 1.4.0

Importing any of these costs the standard library's sqlite3 and json, and nothing else.
"""
