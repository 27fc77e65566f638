"""Where scenes come from: files, STAC, tables, Rasteret collections, the dataset catalog."""
