# SPDX-License-Identifier: LGPL-3.0-only
"""A package, so that its conftest.py and the one of tests/ are two modules."""
