// In the page: milliseconds from what a person did until its effect is painted.
//
// It begins when the browser got the event, and ends with the first task after the frame that paints the effect. The
// effect is noticed as the document changes, not by looking again and again.
() => {
  const PATIENCE_MS = 60_000;
  let isPainting = false; // our callback of this frame has run, its painting has not
  let found = null;
  const afterPaint = (then) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(0);
  };
  const frame = () => {
    isPainting = true;
    const end = found;
    found = null;
    afterPaint(() => {
      isPainting = false;
      end?.(performance.now());
    });
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);

  window.hdvStopwatch = {
    result: null,
    /**
     * Makes `result`, a promise of {ms, state}: from the next event of a kind ("now": from here) until `state(root)` is
     * another one than it is now, and not null, which says that something is still awaited.
     */
    start(root, kind, state) {
      const before = state(root);
      let began = kind === "now" ? performance.now() : null;
      if (began === null) {
        document.addEventListener(kind, (event) => (began = event.timeStamp), { capture: true, once: true, passive: true });
      }
      this.result = new Promise((resolve, reject) => {
        setTimeout(() => reject(new Error(`nothing came of a ${kind}: ${before}`)), PATIENCE_MS);
        const look = () => {
          if (began === null) return;
          const now = state(root);
          if (now === null || now === before) return;
          watch.disconnect();
          const end = (at) => resolve({ ms: at - began, state: now });
          if (isPainting) afterPaint(() => end(performance.now()));
          else found = end; // by our callback, in this frame or the next one
        };
        const watch = new MutationObserver(look);
        watch.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
      });
    },
    /** Rows that a panel says it shows, each time that it says something else: [ms since 1970, rows], once painted. */
    follow(root, rows) {
      const seen = [];
      let last = rows(root);
      const watch = new MutationObserver(() => {
        const now = rows(root);
        if (now === last) return;
        last = now;
        const note = () => seen.push([Date.now(), now]);
        if (isPainting) afterPaint(note);
        else found = note;
      });
      watch.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
      return { seen, stop: () => watch.disconnect() };
    },
  };
}
