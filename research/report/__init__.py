"""Floor 6: from result folders to something one can read.

    records      what a run folder holds, checked as it is read
    protocol     of what a number is: which figures may share a table, and which part differs if not
    leaderboard  in what order, and that table as plain text
    cells        runs that differ in their seed alone; comparison: intervals over seeds, paired tests, ranks with ties
    store        all numbers of all runs, for SQL; explanation: how one of them came to be
    pictures     samples as PNG: image grids, scatters of points, piano rolls
    curves       training curves as inline SVG
    latents      what latent variables do, as pictures; planes: where codes lie, and rate against distortion
    page         one self-contained HTML page of all of the above
    study        a finished sweep as plain data; ablation: its page, with ranking, strips and responses as parts

Nothing here imports JAX or Matplotlib, and only a comparison asks SciPy: a report is asked for often and should answer
within a second. What a run folder holds may have been written by anyone, so names and samples are data here, never
markup.
"""
