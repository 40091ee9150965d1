"""Counts what a suite ran, and says it in one line."""

import contextlib
import time
import traceback


class Skip(Exception):
    """Something that is not installed; where CI is set that is a failure."""


class Report:
    def __init__(self, name, version=""):
        self.name, self.version = name, version
        self.passed, self.failures, self.skipped = 0, [], []
        self.begun = time.monotonic()

    @contextlib.contextmanager
    def case(self, name):
        try:
            yield
            self.passed += 1
        except Skip as missing:
            self.skipped.append(f"{name}: {missing}")
        except Exception as failure:  # whatever a client throws is its verdict
            said = str(failure) or "".join(traceback.format_exc().splitlines()[-3:])
            self.failures.append(f"{name}: {type(failure).__name__} {said[:1600]}")

    def count(self, passed, failed=()):
        """For suites that count by themselves."""
        self.passed += passed
        self.failures += list(failed)

    def line(self):
        cases = self.passed + len(self.failures)
        text = f"{self.name:<22} {self.version:<26} {cases:>5} cases, {self.passed} passed"
        if self.failures:
            text += f", {len(self.failures)} FAILED"
        if self.skipped:
            text += f", {len(self.skipped)} skipped ({'; '.join(self.skipped)})"
        return text + f"  {time.monotonic() - self.begun:.0f} s"
