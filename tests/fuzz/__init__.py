"""Coverage-guided fuzzing: ``python -m tests.fuzz`` runs all targets, ``python -m tests.fuzz TARGET`` one of them.

A mutator that flips bits gets no further than the first check of a MAC. Those here know the keys: they open what was sealed, change
something inside, and seal it again, so that what stands behind the seal is fuzzed as well. Each target holds the library to a
second reading of the rules, which is slow and shares no code with it.

    layers.py    how bytes come apart and are put together again, and how they are changed in between
    forms.py     our tokens and the cookies of eleven other systems in such layers, and what an authentic one means
    slow.py      docs/SPEC.md and the rules of key files, cookies and headers, read a second time
    targets.py   what is fuzzed, and what must hold for every input
    worker.py    one target under atheris, with libFuzzer's own options
    corpus/      the seeds, which tests/test_fuzz.py runs too
"""
