"""Writes the rules and the dashboards that the chart installs."""

from charts.monitoring.build import write

write()
