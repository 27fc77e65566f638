"""Mutates one file of a set and uses the set, case by case, in a process of its own; reports as lines of JSON.

python -m tests.trust.set_worker CASES
"""

import contextlib
import json
import resource
import sys
import time
import traceback

from tests.trust.set_cases import case, use, with_file


def main(cases: int) -> None:
    """Go through the cases `0 … cases - 1`."""
    for number in range(-20, 0):  # imports and caches do not count
        with contextlib.suppress(Exception):
            use(with_file(*case(number)))
    for number in range(cases):
        name, data = case(number)
        files = with_file(name, data)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            said = use(files)
        except BaseException as error:  # noqa: BLE001 - what must not come is what is looked for
            said = "foreign: " + "".join(traceback.format_exception(error))[-600:]
        seconds = time.process_time() - began
        mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps({"case": number, "file": name, "said": said, "seconds": seconds, "mib": mib}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
