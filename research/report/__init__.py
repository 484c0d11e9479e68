"""Floor 6: from result folders to something one can read.

    records      what a run folder holds, checked as it is read
    leaderboard  which runs may share a table, in what order, and that table as plain text
    pictures     samples as PNG: image grids, scatters of points, piano rolls
    curves       training curves as inline SVG
    page         one self-contained HTML page of all of the above

Nothing here imports JAX, SciPy or Matplotlib: a report is asked for often and should answer within a second. What a
run folder holds may have been written by anyone, so names and samples are data here, never markup.
"""
