"""One HTML file to look at a scan and its labels, without network: `--html`."""
