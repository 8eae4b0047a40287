// Keeps the places of a page (data-live) up to date from its stream of changes. Text only: nothing becomes markup.
"use strict";
(() => {
  const address = document.body.dataset.stream;
  const places = new Map();
  for (const place of document.querySelectorAll("[data-live]")) {
    const key = place.dataset.live;
    places.set(key, [...(places.get(key) || []), place]);
  }

  let ahead = 0; // the server's clock minus ours, ms
  const ago = (at) => {
    const seconds = Math.max(0, Math.round((Date.now() + ahead - at) / 1000));
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  };
  const tick = () => {
    for (const place of document.querySelectorAll("[data-at]")) {
      const text = ago(Number(place.dataset.at));
      if (place.textContent !== text) place.textContent = text;
    }
  };

  const put = (place, value) => {
    place.dataset.state = value.s;
    if (value.a === undefined) {
      delete place.dataset.at;
      place.removeAttribute("title");
      if (place.textContent !== value.t) place.textContent = value.t;
    } else {
      place.dataset.at = String(value.a);
      place.title = `${new Date(value.a).toISOString().slice(0, 19).replace("T", " ")} UTC`;
    }
  };

  const state = document.querySelector("[data-live-state]");
  const tell = (name, text) => {
    if (!state || state.dataset.liveState === name) return;
    state.dataset.liveState = name;
    state.textContent = text;
  };

  let stream = null;
  let heard = 0; // performance.now() of the last message
  let wait = 3000;
  const lost = () => tell("lost", `Not live since ${new Date(Date.now() + ahead).toISOString().slice(11, 19)}`);

  const open = () => {
    stream = new EventSource(address);
    stream.onmessage = (message) => {
      const { now, values } = JSON.parse(message.data);
      ahead = now - Date.now();
      heard = performance.now();
      wait = 3000;
      tell("on", "Live");
      for (const [key, value] of Object.entries(values)) {
        for (const place of places.get(key) || []) put(place, value);
      }
      if (values.names) {
        const changed = document.querySelector("[data-live-list]");
        if (changed) changed.hidden = values.names.t === document.body.dataset.list;
      }
      tick();
    };
    stream.addEventListener("bye", () => {
      stream.close();
      tell("out", "Signed out");
      clearInterval(watch);
    });
    stream.onerror = () => {
      lost();
      // A refusal (too many streams, a proxy's error page) ends an EventSource for good: ask again, ever later.
      if (stream.readyState === EventSource.CLOSED) {
        setTimeout(open, wait * (0.75 + Math.random() / 2));
        wait = Math.min(wait * 2, 60000);
      }
    };
  };

  let watch = 0;
  if (address && "EventSource" in window) {
    open();
    // A connection that died without a word: the server says something at least every 15 s.
    watch = setInterval(() => {
      if (heard && performance.now() - heard > 40000 && stream.readyState === EventSource.OPEN) {
        lost();
        heard = 0;
        stream.close();
        open();
      }
    }, 5000);
  }
  tick();
  setInterval(tick, 1000);

  const changed = document.querySelector("[data-live-list]");
  if (changed) changed.href = location.href;
})();
