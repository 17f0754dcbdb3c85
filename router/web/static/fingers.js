// Fingers, and the mouse, on a canvas: a tap, a drag, and two that pinch. Until a drag is free the page moves under the finger, as everywhere.
const slop = 5; // pixels that a tap may move

export class Fingers {
  // tap(e), drag(dx, dy, e, begin), pinch(factor, about), end(e) of a drag; free() says whether drags are wanted of a finger.
  constructor(el, does) {
    this.el = el; this.does = does;
    this.down = new Map();
    this.listen = { pointerdown: e => this.begin(e), pointermove: e => this.move(e), pointerup: e => this.end(e), pointercancel: e => this.drop(e) };
    for (const [k, f] of Object.entries(this.listen)) el.addEventListener(k, f);
  }
  begin(e) {
    if (e.button) return;
    this.down.set(e.pointerId, { x: e.clientX, y: e.clientY });
    this.span = undefined;
    if (this.down.size === 1) { this.from = e; this.dragged = false; this.pinched = false; } else this.pinched = true;
    if (this.el.isConnected) this.el.setPointerCapture(e.pointerId);
  }
  move(e) {
    const was = this.down.get(e.pointerId);
    if (!was) return;
    const dx = e.clientX - was.x, dy = e.clientY - was.y;
    was.x = e.clientX; was.y = e.clientY;
    if (this.down.size === 2) {
      const [a, b] = [...this.down.values()], span = Math.hypot(a.x - b.x, a.y - b.y) || 1;
      if (this.span && Math.abs(span / this.span - 1) < 0.04) return;
      if (this.span) this.does.pinch(span / this.span, { clientX: (a.x + b.x) / 2, clientY: (a.y + b.y) / 2 });
      this.span = span;
      return;
    }
    if (this.down.size > 1 || !this.dragged && Math.hypot(e.clientX - this.from.clientX, e.clientY - this.from.clientY) <= slop) return;
    if (this.does.free && !this.does.free()) return;
    this.does.drag(this.dragged ? dx : e.clientX - this.from.clientX, this.dragged ? dy : e.clientY - this.from.clientY, e, this.from);
    this.dragged = true;
  }
  end(e) {
    if (!this.down.delete(e.pointerId) || this.down.size) return;
    if (this.pinched) { if (this.does.drop) this.does.drop(); return; }
    if (this.dragged) { if (this.does.end) this.does.end(e, this.from); } else if (Math.hypot(e.clientX - this.from.clientX, e.clientY - this.from.clientY) <= slop) this.does.tap(e);
  }
  drop(e) { this.down.delete(e.pointerId); if (this.does.drop) this.does.drop(); }
  close() { for (const [k, f] of Object.entries(this.listen)) this.el.removeEventListener(k, f); }
}
