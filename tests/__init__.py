"""Tests: they mirror the packages; `oracle/`, `plain/` and `servers/` hold what belongs to no single one."""
