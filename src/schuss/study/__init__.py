"""The study: implementations x networks x batch sizes on this machine, other libraries beside them, and a report.

`schuss bench` runs it; `docs/bench.md` has the method and the format of what comes out.
"""
