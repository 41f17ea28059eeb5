"""The press: how notebooks are executed, assembled into pages, scored and bound into the book.

``orders`` what to run, and whether it is still current · ``execute`` one run by papermill · ``runs`` what runs left
behind · ``assemble`` a page · ``figures`` what introductions show of pages · ``scoreboard`` every claim, catalogue,
totals · ``overview`` the front page's figure · ``performance`` benchmarks · ``reference`` the library's pages ·
``bind`` Jupyter Book · ``verdicts`` the last word of a build · ``sweeps`` grids of runs · ``archive`` recorded results
and their comparison · ``skeleton`` a new paper · ``cli`` the command line · ``entry`` the steps' errors.
The order of the steps is the ``Snakefile``'s.
"""
