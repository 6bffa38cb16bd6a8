"""Plans of reports: checks, and expected time, memory and disk, without reading weights."""
