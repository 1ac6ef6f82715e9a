# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once, on CPUs that race: the half minute of it that `make soak-everything` does for twenty."""


def test_everything_at_once(boot):
    outcome = boot("everything", icount=False, follow=True, timeout=1200)
    assert outcome.console.count("sluice: verify:") >= 5
