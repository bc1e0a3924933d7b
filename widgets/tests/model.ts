// A model as anywidget gives it, with the kernel's end in the test's hands.
import type { Content, Model } from "../src/sync";

export class KernelModel implements Model {
  readonly sent: Content[] = [];
  readonly saved: Record<string, unknown>[] = [];
  private readonly handlers = new Map<string, Set<(...args: any[]) => void>>();
  private unsaved: Record<string, unknown> = {};

  constructor(private readonly state: Record<string, unknown> = {}) {}

  get(name: string): any {
    return this.state[name];
  }
  set(name: string, value: unknown): void {
    this.state[name] = this.unsaved[name] = value;
    this.emit(`change:${name}`);
  }
  save_changes(): void {
    this.saved.push(this.unsaved);
    this.unsaved = {};
  }
  send(content: unknown): void {
    this.sent.push(content as Content);
  }
  on(event: string, handler: (...args: any[]) => void): void {
    if (!this.handlers.has(event)) this.handlers.set(event, new Set());
    this.handlers.get(event)!.add(handler);
  }
  off(event: string, handler: (...args: any[]) => void): void {
    this.handlers.get(event)?.delete(handler);
  }

  /** A message from the kernel. */
  arrives(content: Content, ...buffers: ArrayBufferView[]): void {
    this.emit("msg:custom", content, buffers);
  }
  /** How many handlers the views have on the model. */
  get listening(): number {
    return [...this.handlers.values()].reduce((sum, one) => sum + one.size, 0);
  }
  private emit(event: string, ...args: unknown[]): void {
    for (const handler of [...(this.handlers.get(event) ?? [])]) handler(...args);
  }
}

/** Puts views on screen or off it: the browser's observers, which need a layout, are the test's to fire. */
export class Screen {
  private readonly callbacks = new Set<(entries: any[]) => void>();

  constructor() {
    const callbacks = this.callbacks;
    globalThis.IntersectionObserver = class {
      constructor(private readonly callback: (entries: any[]) => void) {}
      observe() {
        callbacks.add(this.callback);
      }
      disconnect() {
        callbacks.delete(this.callback);
      }
    } as never;
  }

  show(on: boolean): void {
    for (const callback of [...this.callbacks]) callback([{ isIntersecting: on }]);
  }
}
