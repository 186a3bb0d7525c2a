"""Data functions that users might write; each is the body of a module with a function ``f``."""

_SAMPLE = "np.random.default_rng(0).normal(size=(3, 8, 8)).astype('f4')"
_CLASS = (
    "class S:\n    def __len__(self): return {}\n    def __getitem__(self, i): return {}\nf = S"
)
_ODD_VALUES = (
    *("None", "0", "'text'", "b'bytes'", "[]", "{}", "()", "object()", "float('nan')", "f", "{1}"),
    *(
        "np.zeros(0)",
        "np.array('x')",
        "np.array(None)",
        "[[1], [1, 2]]",
        "{'x': []}",
        "{'x': None}",
    ),
    *("[np.zeros((3, 8, 8)), None]", "[(np.zeros((3, 8, 8)), 1.5)] * 4", "{0: np.zeros(3)}"),
    *("[{'x': np.zeros((3, 8, 8)), 'y': 2**70}] * 4", "np.zeros((4, 3, 8, 8), 'M8[s]')"),
    *(
        "[(np.zeros((3, 8, 8)), -2**63)] * 4",
        "[{}] * 4",
        "iter(())",
        "np.ma.masked_all((4, 3, 8, 8))",
    ),
    *("np.broadcast_to(np.float32(1), (4, 3, 8, 8))", "np.zeros((1 << 50, 3, 8, 8), np.void)"),
    *(
        "range(5)",
        "map(int, 'abc')",
        "memoryview(b'abc')",
        "np.matrix([[1.0]])",
        "[np.zeros(3)] * 3",
    ),
    *("np.zeros((4, 3, 8, 8), order='F')", "np.zeros((4, 3, 8, 8), '>f8')", "{'x': 1, 'x ': 2}"),
    *(
        "[{'x': np.zeros((3, 8, 8)), 'z': 1}] * 4",
        "type('A', (), {'__iter__': 3})()",
        "Exception()",
    ),
)
_RAISES = (
    *("SystemExit(0)", "SystemExit('text')", "SystemExit(None)", "KeyboardInterrupt()"),
    *("GeneratorExit()", "StopIteration(1)", "MemoryError()", "RecursionError('deep')"),
    *("BaseException('base')", "OSError(28, 'No space left on device')", "BrokenPipeError()"),
    *("ModuleNotFoundError('No module named gone', name='gone')", "Exception('\\x1b[31m\\n' * 9)"),
    *("UnicodeDecodeError('utf-8', b'a', 0, 1, 'odd')", "ImportError()", "Exception('\\udcff')"),
    *("type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "AssertionError()"),
)
_CLASSES = (
    *((4, _SAMPLE), (0, _SAMPLE), (-1, _SAMPLE), (10**30, _SAMPLE), ("'x'", _SAMPLE), (2.5, "0")),
    *((1 << 62, _SAMPLE), (4, "1 / 0"), (4, "sys.exit(0)"), (4, "self"), (4, "np.zeros(i)")),
    *((4, "np.full((3, 8, 8), np.nan)"), (4, f"({_SAMPLE}, i)"), (4, f"({_SAMPLE}, i + 2**63)")),
    *((4, f"{{'x': {_SAMPLE}, 'label': 'cat'}}"), ("True", _SAMPLE), (4, "os.close(1)")),
)
_SIDE_EFFECTS = (
    *("print('hello')", "os.chdir('/')", "sys.stdout = None", "sys.stderr.close()", "os.close(2)"),
    *(
        "sys.path.clear()",
        "os.environ.clear()",
        "np.seterr(all='raise')",
        "sys.setrecursionlimit(90)",
    ),
    *("import warnings; warnings.simplefilter('error')", "import gc; gc.disable()"),
    *("import locale; locale.setlocale(locale.LC_ALL, 'C')", "os.umask(0o777)"),
    *(
        "import random; random.seed(0)",
        "sys.argv.clear()",
        "import shutil; shutil.rmtree('o', True)",
    ),
    *("import threading; threading.Thread(target=print).start()"),
    *(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "sys.setswitchinterval(1e-6)",
    ),
)

FUNCTIONS: tuple[str, ...] = (
    *(f"def f():\n    return {value}" for value in _ODD_VALUES),
    *(f"f = {value}" for value in _ODD_VALUES[:12]),
    *(f"def f():\n    raise {error}" for error in _RAISES),
    *(f"def f():\n    yield {_SAMPLE}\n    raise {error}" for error in _RAISES),
    *(f"raise {error}" for error in _RAISES),
    *(_CLASS.format(length, item) for length, item in _CLASSES),
    *(f"def f():\n    {act}\n    return [{_SAMPLE}] * 6" for act in _SIDE_EFFECTS),
    *(f"{act}\ndef f():\n    yield from [{_SAMPLE}] * 6" for act in _SIDE_EFFECTS),
    "def f(needed):\n    return []",
    "async def f():\n    return []",
    "def f():\n    yield from f()",
    "def f(:\n",
    "import um\nf = um.f",
)
"""Bodies; ``sys``, ``os`` and ``np`` are imported above them."""
