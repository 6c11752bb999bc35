// Values where the mouse is, and a closer look at a part of the time: drag over it; a double click shows all again.
// Everything that is told stands in the pictures' own data; nothing is loaded.
(() => {
  const LEFT = 78, RIGHT = 982, WIDTH = 1000, TOP = 58, FOOT = 34;
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const pictures = [...document.querySelectorAll("svg[data-hover]")].map((svg) => {
    const data = JSON.parse(svg.dataset.hover);
    const draw = (name) => {
      const element = document.createElementNS(svg.namespaceURI, name);
      svg.append(element);
      return element;
    };
    const ticks = svg.querySelector(".ticks");
    const picture = {
      svg, data, ticks, view: data.x.slice(), plot: svg.querySelector(".plot"), ticksAll: ticks && ticks.innerHTML,
      label: ticks && ticks.querySelector("text"), free: [...svg.querySelectorAll(".free")],
      band: draw("rect"), line: draw("line"),
    };
    picture.band.setAttribute("class", "band");
    picture.line.setAttribute("class", "cross");
    for (const [key, value] of [["y1", TOP], ["y2", data.height - FOOT], ["x1", -9], ["x2", -9]]) picture.line.setAttribute(key, value);
    for (const [key, value] of [["y", TOP], ["height", data.height - FOOT - TOP]]) picture.band.setAttribute(key, value);
    return picture;
  });

  const place = (picture, event) => {
    const box = picture.svg.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * WIDTH) / box.width, y: ((event.clientY - box.top) * picture.data.height) / box.height };
  };
  const clamp = (x) => Math.min(RIGHT, Math.max(LEFT, x));
  const valueAt = (picture, x) =>
    picture.view[0] + ((clamp(x) - LEFT) / (RIGHT - LEFT)) * (picture.view[1] - picture.view[0]);
  const placeOf = (picture, value) =>
    LEFT + ((value - picture.view[0]) / (picture.view[1] - picture.view[0])) * (RIGHT - LEFT);

  // The last interval that begins at or before a value.
  const indexAt = (data, value) => {
    let low = 0, high = data.at.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (data.at[middle] <= value) low = middle;
      else high = middle - 1;
    }
    return low;
  };

  const cells = new Map();
  const cellsOf = (row) => {
    if (!cells.has(row)) {
      const found = [];
      for (const [, state, times] of row[1].matchAll(/(--|\d\d)(\d*)\./g))
        for (let n = Number(times || 1); n > 0; n--) found.push(state);
      cells.set(row, found);
    }
    return cells.get(row);
  };

  const linesAt = (picture, at) => {
    const { data } = picture, value = valueAt(picture, at.x), index = indexAt(data, value);
    const lines = [["b", data.labels[index] || ""]];
    for (const [name, values] of data.series) lines.push(["span", `${name}: ${values[index]}`]);
    if (data.rows) {
      const row = data.rows[Math.floor((at.y - data.top) / data.row)];
      if (row) {
        const state = cellsOf(row)[index] || "--";
        const percent = (digit) => Math.round((Number(digit) * 100) / 9);
        lines.push(["span", row[0]]);
        if (state === "--") lines.push(["span", "absent"]);
        else {
          const [computing, holding] = [percent(state[0]), percent(state[1])];
          const idle = Math.max(0, 100 - computing - holding);
          lines.push(["span", `computing ${computing} %, holding tasks ${holding} %, idle ${idle} %`]);
        }
      }
    }
    for (const [us, time, text] of data.marks)
      if (Math.abs(placeOf(picture, us) - at.x) < 6) lines.push(["i", `${time} ${text}`]);
    return lines;
  };

  const show = (picture, event) => {
    const at = place(picture, event);
    const isInside = at.x >= LEFT && at.x <= RIGHT && at.y >= TOP && at.y <= picture.data.height - FOOT;
    tip.hidden = !isInside || picture.data.at.length === 0;
    for (const other of pictures) {
      const isSame = other.data.kind === picture.data.kind;
      const x = isInside && isSame ? placeOf(other, valueAt(picture, at.x)) : -9;
      for (const key of ["x1", "x2"]) other.line.setAttribute(key, x);
    }
    if (tip.hidden) return;
    tip.replaceChildren(...linesAt(picture, at).map(([name, text]) => {
      const element = document.createElement(name);
      element.textContent = text;
      return element;
    }));
    const isRight = event.clientX > innerWidth / 2;
    tip.style.left = isRight ? "auto" : `${event.clientX + 16}px`;
    tip.style.right = isRight ? `${document.documentElement.clientWidth - event.clientX + 16}px` : "auto";
    tip.style.top = `${Math.max(8, Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 8))}px`;
  };

  // Shows from a value to a value, in all pictures of the same kind.
  const zoom = (kind, from, to) => {
    for (const picture of pictures) {
      const { data, plot, ticks } = picture;
      if (data.kind !== kind || !plot) continue;
      const isAll = from === undefined;
      picture.view = isAll ? data.x.slice() : [from, to];
      const width = (data.x[1] - data.x[0]) / (picture.view[1] - picture.view[0]);
      const left = LEFT + ((picture.view[0] - data.x[0]) / (data.x[1] - data.x[0])) * (RIGHT - LEFT);
      plot.setAttribute("transform", isAll ? "" : `matrix(${width} 0 0 1 ${LEFT - left * width} 0)`);
      for (const text of picture.free) text.style.visibility = isAll ? "" : "hidden";
      if (!ticks || !picture.label) continue;
      ticks.innerHTML = picture.ticksAll;
      if (isAll) continue;
      for (const element of [...ticks.querySelectorAll("text,polyline")].slice(0, -1)) element.remove();
      const first = indexAt(data, picture.view[0]), last = indexAt(data, picture.view[1]);
      const step = Math.max(1, Math.ceil((last - first) / 5));
      for (let index = first; index <= last; index += step) {
        const x = placeOf(picture, data.at[index]);
        if (x < LEFT || x > RIGHT - 40) continue;
        const label = picture.label.cloneNode();
        label.setAttribute("x", x);
        label.setAttribute("text-anchor", "middle");
        label.textContent = data.labels[index].replace(/^\d+-\d+-\d+ /, "").replace(/\.000$/, "");
        ticks.append(label);
      }
    }
  };

  for (const picture of pictures) {
    const { svg, band, data } = picture;
    let begun = null;
    const end = () => {
      begun = null;
      band.setAttribute("width", 0);
    };
    svg.addEventListener("mousemove", (event) => {
      show(picture, event);
      if (begun === null) return;
      const [from, to] = [begun, clamp(place(picture, event).x)].sort((a, b) => a - b);
      band.setAttribute("x", from);
      band.setAttribute("width", to - from);
    });
    svg.addEventListener("mouseleave", (event) => {
      show(picture, event);
      tip.hidden = true;
    });
    svg.addEventListener("mousedown", (event) => {
      const at = place(picture, event);
      if (event.button !== 0 || at.x < LEFT || at.x > RIGHT) return;
      begun = at.x;
      event.preventDefault();
    });
    addEventListener("mouseup", (event) => {
      if (begun === null) return;
      const [from, to] = [begun, clamp(place(picture, event).x)].sort((a, b) => a - b);
      end();
      if (to - from > 8) zoom(data.kind, valueAt(picture, from), valueAt(picture, to));
    });
    svg.addEventListener("dblclick", () => zoom(data.kind));
  }
})();
