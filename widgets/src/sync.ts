// What goes between a panel and the kernel. The only file that calls save_changes.

/** What anywidget gives to `render`: the state that the widget shares with the kernel. */
export interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown, callbacks?: unknown, buffers?: (ArrayBuffer | ArrayBufferView)[]): void;
  on(event: string, handler: (...args: any[]) => void): void;
  off(event: string, handler: (...args: any[]) => void): void;
}

/** A message from the kernel or to it; `kind` says which. Numbers of 64 bits travel in the buffers, never in here. */
export interface Content {
  kind: string;
  [key: string]: any;
}

type Handler = (content: any, buffers: DataView[]) => void;

/** One view's end of the line. `close` takes all its handlers off the model, which other views may still use. */
export class Sync {
  private readonly handlers = new Map<string, Handler>();
  private readonly undo: (() => void)[] = [];

  constructor(private readonly model: Model) {
    this.listen("msg:custom", (content: Content, buffers?: ArrayBufferView[]) => {
      const views = (buffers ?? []).map((one) => new DataView(one.buffer, one.byteOffset, one.byteLength));
      this.handlers.get(content?.kind)?.(content, views);
    });
  }

  get<T>(name: string): T {
    return this.model.get(name) as T;
  }

  /** Change state that the kernel shares: small and plain (what is chosen, filtered, folded). */
  set(values: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes();
  }

  /** Called when the kernel or another view changed `name`, and by our own `set`. */
  onChange(name: string, handler: () => void): void {
    this.listen(`change:${name}`, handler);
  }

  /** Called with each message of a kind (one handler per kind), and with its buffers as they came: unaligned. */
  onData(kind: string, handler: Handler): void {
    this.handlers.set(kind, handler);
  }

  /** A message for the widget's `on_request`. */
  send(content: Content, buffers: (ArrayBuffer | ArrayBufferView)[] = []): void {
    this.model.send(content, undefined, buffers);
  }

  close(): void {
    for (const undo of this.undo.splice(0)) undo();
    this.handlers.clear();
  }

  private listen(event: string, handler: (...args: any[]) => void): void {
    this.model.on(event, handler);
    this.undo.push(() => this.model.off(event, handler));
  }
}
