"""The cases of a Python client program: registering, running and reporting them in the harness's lines."""

import sys
import time
import traceback

_cases = []
WAIT_SECONDS = 30


def case(function):
    """Registers a function as one case, in the order of the file."""
    _cases.append(function)
    return function


def run_all():
    """Runs every registered case, or those named on the command line after the address."""
    wanted = sys.argv[2:]
    chosen = [function for function in _cases if not wanted or function.__name__ in wanted]
    say(f"plan {len(chosen)}")
    failed = 0
    for function in chosen:
        started = time.monotonic()
        try:
            function()
            say(f"ok {function.__name__}")
        except Exception as error:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            say(f"not ok {function.__name__}: {type(error).__name__}: {error}".replace("\n", " | "))
        say(f"# {function.__name__} {time.monotonic() - started:.2f} s")
    sys.exit(1 if failed else 0)


def say(line):
    print(line, flush=True)


def ask(request):
    """Has the harness restart the server: `restart` or `crash`."""
    say(request)
    answer = sys.stdin.readline().strip()
    equal(answer, "restarted")


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what + ': ' if what else ''}{found!r}, not {expected!r}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def raises(kind, function, *arguments, **named):
    """Calls the function and returns the error of exactly this kind that it must raise."""
    try:
        result = function(*arguments, **named)
    except kind as error:
        equal(type(error), kind)
        return error
    raise AssertionError(f"no {kind.__name__}, but {result!r}")


def wait_for(condition, what, seconds=WAIT_SECONDS):
    """Returns the condition's first true value; the limit only ends a test that fails anyway."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s: {what}")
        time.sleep(0.005)
