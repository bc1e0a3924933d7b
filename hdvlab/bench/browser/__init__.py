"""JupyterLab in Chromium, driven by Playwright: for what is measured in a real browser, and for the browser tests.

Needs what hdvlab itself does not: ``playwright``, ``jupyterlab``, ``nbformat``, and Debian's package ``chromium``.
"""
