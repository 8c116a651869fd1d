"""Microsoft's SDK for Service Bus against the emulator.

    python conformance.py CONNECTION_STRING
    python conformance.py CONNECTION_STRING --through amqps://127.0.0.1:5671 --management https://127.0.0.1:443 --ca ca.pem
    python conformance.py CONNECTION_STRING --only 'settlement: '

Each case has topics of its own, so that most run side by side. Exit status 0 where all passed.
"""

import argparse
import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The folder belongs to the sources.
sys.dont_write_bytecode = True

from cases import administration, bodies, errors, faults, links, receiving, settlement  # noqa: E402, F401
from support import CASES, CASES_ALONE, Namespace  # noqa: E402


# Longer than every case needs on a busy machine; one that hangs is shown where it does.
CASE_PATIENCE = 180


def name(case):
    return f"{case.__module__.removeprefix('cases.')}: {case.__name__.replace('_', ' ')}"


def run(case, namespace):
    """What went wrong, as text; None where nothing did."""
    began = time.monotonic()
    faults = []

    def guarded():
        try:
            case(namespace)
        except BaseException as error:  # Every case is run, whatever the others do.
            frames = traceback.extract_tb(error.__traceback__)
            faults.append(shown(frames) + "".join(traceback.format_exception_only(error)))

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(CASE_PATIENCE)
    if thread.is_alive():
        frames = traceback.extract_stack(sys._current_frames()[thread.ident])
        faults.append(shown(frames) + f"hangs, for {CASE_PATIENCE} s now")
    verdict = "FAILED" if faults else "ok"
    print(f"{verdict:6} {time.monotonic() - began:5.1f} s  {name(case)}", flush=True)
    return faults[0] if faults else None


def shown(frames):
    """The frames of these scripts, and where the SDK was."""
    folder = str(Path(__file__).parent)
    ours = [frame for frame in frames if frame.filename.startswith(folder)]
    return "".join(traceback.format_list(ours + [frame for frame in frames[-2:] if frame not in ours]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("connection_string")
    parser.add_argument("--through", metavar="URL", help="amqp, amqps, ws or wss; else what the connection string says")
    parser.add_argument("--management", metavar="URL", help="else what ManagementEndpoint of the connection string says")
    parser.add_argument("--ca", metavar="FILE", help="the authority that amqps, wss and https are checked by (PEM)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the cases with this in their name")
    parser.add_argument("--jobs", type=int, default=6, help="cases at a time")
    parser.add_argument("--trace", action="store_true", help="prints what the SDK logs, frames included")
    options = parser.parse_args()

    # It logs as errors what the cases provoke, with tracebacks.
    logging.basicConfig(level=logging.DEBUG if options.trace else logging.CRITICAL)
    namespace = Namespace(
        options.connection_string, options.through, options.ca, options.management, trace=options.trace
    )
    alone, together = ([case for case in cases if options.only in name(case)] for cases in (CASES_ALONE, CASES))
    cases = alone + together
    faults = [run(case, namespace) for case in alone]
    with ThreadPoolExecutor(options.jobs) as pool:
        faults += pool.map(lambda case: run(case, namespace), together)
    for case, fault in zip(cases, faults):
        if fault is not None:
            print(f"\n--- {name(case)}\n{fault}")
    failed = sum(fault is not None for fault in faults)
    print(f"\n{len(cases) - failed} cases passed, {failed} failed", flush=True)
    # Not by way of threads that hang.
    os._exit(1 if failed or not cases else 0)


if __name__ == "__main__":
    main()
