"""Lab sheets that come with hdvlab, one module each; its ``sheet`` is what ``%hdv check`` takes."""
