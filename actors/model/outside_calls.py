"""What code asks of the world outside: the clock, random numbers, files and connections.

What decides may run again, after a crash or when a state is rebuilt, and has to come to the same.
A name counts when it stands for what this module lists; what has the name by chance does not.
"""

from __future__ import annotations

import builtins
import random
import sys
import types
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .code_scan import closure_of, code_reached, instructions_of, nested_codes

if TYPE_CHECKING:
    import dis
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Kind", "outside_calls_in"]

Kind: TypeAlias = Literal["clock", "random", "connection", "wait"]

_NAMES: dict[Kind, str] = {
    "clock": """
        datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today
        time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter
        time.perf_counter_ns time.process_time time.process_time_ns
    """,
    "random": """
        uuid.uuid1 uuid.uuid4 uuid.uuid6 uuid.uuid7 os.urandom os.getrandom random.SystemRandom
        secrets.SystemRandom secrets.choice secrets.randbelow secrets.randbits secrets.token_bytes
        secrets.token_hex secrets.token_urlsafe random.random random.uniform random.triangular
        random.randint random.choice random.randrange random.sample random.shuffle random.choices
        random.normalvariate random.lognormvariate random.expovariate random.vonmisesvariate
        random.gammavariate random.gauss random.betavariate random.binomialvariate
        random.paretovariate random.weibullvariate random.getrandbits random.randbytes
    """,
    "connection": """
        builtins.open builtins.input io.open os.open os.system os.popen
        subprocess.run subprocess.Popen subprocess.call subprocess.check_call
        subprocess.check_output subprocess.getoutput subprocess.getstatusoutput
        socket.socket socket.create_connection socket.create_server socket.getaddrinfo
        socket.gethostbyname urllib.request.urlopen urllib.request.urlretrieve
        http.client.HTTPConnection http.client.HTTPSConnection smtplib.SMTP smtplib.SMTP_SSL
        ftplib.FTP ftplib.FTP_TLS imaplib.IMAP4 imaplib.IMAP4_SSL poplib.POP3 poplib.POP3_SSL
        sqlite3.connect sqlite3.Connection
        requests.get requests.post requests.put requests.patch requests.delete requests.head
        requests.options requests.request requests.Session requests.session
        httpx.get httpx.post httpx.put httpx.patch httpx.delete httpx.head httpx.options
        httpx.request httpx.stream httpx.Client httpx.AsyncClient aiohttp.ClientSession
        urllib3.request urllib3.PoolManager grpc.insecure_channel grpc.secure_channel
        psycopg.connect psycopg2.connect asyncpg.connect pymysql.connect MySQLdb.connect
        mysql.connector.connect pyodbc.connect oracledb.connect pymongo.MongoClient redis.Redis
        redis.StrictRedis redis.from_url sqlalchemy.create_engine pika.BlockingConnection
        kafka.KafkaProducer boto3.client boto3.resource boto3.Session paramiko.SSHClient
    """,
    "wait": "time.sleep",
}
_KINDS: Mapping[str, Kind] = {name: kind for kind in _NAMES for name in _NAMES[kind].split()}

_LOADS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_PACKAGES = frozenset({"site-packages", "dist-packages"})
_OURS = __name__.partition(".")[0]
_UNKNOWN = object()


def outside_calls_in(
    functions: Iterable[Callable[..., Any]], *, of: type
) -> dict[Kind, dict[str, str]]:
    """What the functions, or those of the service that these call, ask of the world outside.

    Args:
        functions: plain functions
        of: the class whose methods they are

    Returns:
        by kind, the names, such as ``"datetime.now"``, with the name of the function that has it

    """
    known = _loaded_names()
    found: dict[Kind, dict[str, str]] = {}
    for function in code_reached(functions, of):
        if _is_of_the_service(function, of):
            for name in _names_in(function, known):
                short = name.removeprefix("builtins.").removeprefix("datetime.")
                found.setdefault(_KINDS.get(name, "random"), {})[short] = function.__name__
    return found


def _is_of_the_service(function: types.FunctionType, of: type) -> bool:
    """Whether a function is no library's: what a library does with a clock is its own affair."""
    root = str(function.__module__).partition(".")[0]
    return root == of.__module__.partition(".")[0] or not (
        root == _OURS
        or root in sys.stdlib_module_names
        or _PACKAGES.intersection(Path(function.__code__.co_filename).parts)
    )


def _loaded_names() -> dict[Any, str]:
    """The listed functions and classes of modules that the program has loaded; none is loaded."""
    found: dict[Any, str] = {}
    for name in _KINDS:
        module, _, attribute = name.rpartition(".")
        if module in {"datetime.datetime", "datetime.date"}:
            value = getattr(getattr(sys.modules.get("datetime"), module[9:], None), attribute, None)
        else:
            value = vars(sys.modules[module]).get(attribute) if module in sys.modules else None
        if value is not None:
            found.setdefault(value, name)
    return found


def _names_in(function: types.FunctionType, known: Mapping[Any, str]) -> Iterator[str]:
    closure = closure_of(function)
    for code in nested_codes(function.__code__):
        instructions = instructions_of(code)
        local = _imported_in(instructions)
        for index, one in enumerate(instructions):
            value = _value_of(one, function, closure, local)
            if value is not _UNKNOWN:
                yield from _names_from(instructions, index, value, known)


def _value_of(
    one: dis.Instruction,
    function: types.FunctionType,
    closure: Mapping[str, Any],
    local: Mapping[str, Any],
) -> Any:
    """What a name stands for; a text is the dotted name of what may not be loaded."""
    if one.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
        name = one.argval
        value = function.__globals__.get(name, vars(builtins).get(name, _UNKNOWN))
    elif one.opname == "LOAD_DEREF":
        value = closure.get(one.argval, local.get(one.argval, _UNKNOWN))
    elif one.opname.startswith("LOAD_FAST") and isinstance(one.argval, str):
        return local.get(one.argval, _UNKNOWN)
    else:
        return _UNKNOWN
    return _UNKNOWN if isinstance(value, str) else value


def _names_from(
    instructions: list[dis.Instruction], index: int, value: Any, known: Mapping[Any, str]
) -> Iterator[str]:
    """The listed name that a value stands for, or one that is reached by its attributes."""
    start = index
    while True:
        name = value if isinstance(value, str) else _name_of(value, known)
        if name in _KINDS:
            is_class = isinstance(value, type) or name.rpartition(".")[2][0].isupper()
            if not is_class or _is_called(instructions, start, index):
                yield name
            return
        index += 1
        if index == len(instructions) or instructions[index].opname not in _LOADS:
            return
        attribute = instructions[index].argval
        if isinstance(value, random.Random):
            if attribute not in {"seed", "getstate", "setstate"}:
                yield f"random.Random.{attribute}"
            return
        opened = _name_of(type(value), known)
        if opened in _KINDS and not isinstance(value, type):
            yield opened
            return
        value = _attribute_of(value, attribute)


def _attribute_of(value: Any, attribute: str) -> Any:
    """What an attribute of a module stands for; of another value, no code of its is run."""
    if isinstance(value, str):
        return f"{value}.{attribute}"
    if isinstance(value, types.ModuleType):
        return vars(value).get(attribute, f"{value.__name__}.{attribute}")
    if isinstance(value, type) and value.__module__ == "datetime":
        return f"datetime.{value.__name__}.{attribute}"
    return _UNKNOWN


def _name_of(value: Any, known: Mapping[Any, str]) -> str:
    kinds = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
    return known.get(value, "") if isinstance(value, kinds) else ""


def _is_called(instructions: list[dis.Instruction], start: int, end: int) -> bool:
    """Whether what the instructions from `start` to `end` leave is called, and not compared."""
    # Each version of Python says in another place that what is loaded will be called.
    before = instructions[start - 1].opname if start else ""
    after = instructions[end + 1].opname if end + 1 < len(instructions) else ""
    said = instructions[start].argrepr + instructions[end].argrepr
    is_called = "NULL" in said or "PUSH_NULL" in {before, after}
    return instructions[end].opname == "LOAD_METHOD" or (is_called and after not in _LOADS)


def _imported_in(instructions: list[dis.Instruction]) -> dict[str, Any]:
    """The variables of a function that its own `import` statements fill, as dotted names."""
    found: dict[str, Any] = {}
    module = ""
    stored: list[str] = []
    for before, one in pairwise(instructions):
        if one.opname == "IMPORT_NAME":
            module = one.argval
        if not one.opname.startswith("STORE_") or not isinstance(one.argval, str):
            continue
        stored.append(one.argval)
        if before.opname == "IMPORT_NAME":
            # `import a.b` fills `a`.
            found[one.argval] = module.partition(".")[0]
        elif before.opname == "IMPORT_FROM":
            found[one.argval] = f"{module}.{before.argval}"
    return {name: text for name, text in found.items() if stored.count(name) == 1}
