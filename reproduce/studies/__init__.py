"""Studies: photos x networks x samplers x seeds, an index of what is done, a table of numbers, a page to look at."""
