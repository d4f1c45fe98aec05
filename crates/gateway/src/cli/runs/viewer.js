
"use strict";
(() => {
  const longest = 10000;
  const rows = [...document.querySelectorAll("li[data-at]")];
  const [play, step, speed, now] = ["play", "step", "speed", "now"].map((id) => document.getElementById(id));
  let shown = rows.length;
  let timer;
  const at = (n) => Number(rows[n].dataset.at) / 1000;
  const tell = () => {
    rows.forEach((row, n) => { row.hidden = n >= shown; });
    now.value = `${shown} of ${rows.length}`;
    play.textContent = timer === undefined ? "Play" : "Stop";
  };
  const stop = () => { clearTimeout(timer); timer = undefined; };
  const next = () => {
    shown += 1;
    if (shown >= rows.length) { stop(); return tell(); }
    const pause = shown === 0 ? 0 : at(shown) - at(shown - 1);
    timer = setTimeout(next, Math.min(pause, longest) / Number(speed.value));
    tell();
    rows[shown - 1].scrollIntoView({ block: "nearest" });
  };
  play.addEventListener("click", () => {
    if (timer !== undefined) { stop(); return tell(); }
    if (shown >= rows.length) { shown = 0; }
    next();
  });
  step.addEventListener("click", () => {
    stop();
    shown = shown >= rows.length ? 1 : shown + 1;
    tell();
  });
  tell();
})();
