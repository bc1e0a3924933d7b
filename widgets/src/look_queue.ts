// Asks the kernel for pictures: one question at a time, the newest wish kept, never waiting for ever.

const PATIENCE_MS = 2000; // a kernel that serves nobody while a cell runs answers later; what it missed is asked again

export class LookQueue<Look> {
  private sent = 0;
  private sentAt = -1;
  private wanted: Look | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Milliseconds from the last question to its answer. */
  latency = 0;

  constructor(
    private readonly send: (look: Look, sequence: number) => void,
    private readonly seed = Math.floor(Math.random() * 2 ** 20) * 2 ** 20,
  ) {}

  /** Whether an answer is awaited. */
  get waits(): boolean {
    return this.sentAt >= 0;
  }

  ask(look: Look): void {
    if (this.waits && performance.now() - this.sentAt < PATIENCE_MS) {
      this.wanted = look;
      return;
    }
    this.sent++;
    this.sentAt = performance.now();
    this.wanted = null;
    this.send(look, this.seed + this.sent);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), PATIENCE_MS + 50);
  }

  /** A picture came: whether it is what this view shows now (its own answer, or nobody's when none is awaited). */
  accepts(sequence: number): boolean {
    if (!this.waits) return true;
    if (sequence !== this.seed + this.sent) return false;
    this.latency = performance.now() - this.sentAt;
    this.sentAt = -1;
    clearTimeout(this.timer);
    if (!this.wanted) return true;
    this.ask(this.wanted);
    return false;
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private again(): void {
    if (!this.waits) return;
    this.sentAt = -1;
    if (this.wanted) this.ask(this.wanted);
  }
}
