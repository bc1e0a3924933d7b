// What a row is, by the number in its `kind`; tests/widgets/test_front_end_names.py compares it with the schema.

export const KINDS = [
  "none", "config_read", "config_write", "mmio_read", "mmio_write", "dma_read", "dma_write", "interrupt", "doorbell",
  "doorbell_register", "doorbell_unregister", "aperture_map", "aperture_unmap", "section_map", "section_unmap",
  "initialize", "set_configuration", "get_details", "start", "stop", "teardown", "reset", "pause", "resume", "mark",
  "fault", "lost",
];

export const ORIGINS = ["guest", "user", "device", "replay", "injected", "machine"];

/** Groups that filters speak of; each has a colour, `--hdv-GROUP`, and each kind a glyph, so that colour is not alone. */
export const GROUPS = ["config", "mmio", "dma", "interrupt", "doorbell", "memory", "lifecycle", "mark", "fault", "lost"];

const GLYPHS: Record<string, string> = {
  config_read: "◁", config_write: "▷", mmio_read: "←", mmio_write: "→", dma_read: "⇐", dma_write: "⇒", interrupt: "↯",
  doorbell: "◉", doorbell_register: "⊕", doorbell_unregister: "⊖", mark: "⚑", fault: "✖", lost: "∅",
};
const GROUP_GLYPHS: Record<string, string> = {
  config: "▷", mmio: "→", dma: "⇒", interrupt: "↯", doorbell: "◉", memory: "▤", lifecycle: "●", mark: "⚑", fault: "✖", lost: "∅",
};

export function groupOf(kind: string): string {
  const head = kind.split("_")[0]!;
  if (GROUPS.includes(head)) return head;
  return head === "aperture" || head === "section" ? "memory" : "lifecycle";
}

export function glyphOf(kindOrGroup: string): string {
  return GLYPHS[kindOrGroup] ?? GROUP_GLYPHS[kindOrGroup] ?? GROUP_GLYPHS[groupOf(kindOrGroup)]!;
}
