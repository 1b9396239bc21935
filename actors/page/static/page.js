// Pages work without this. It renews what moves, follows the tail, and knows a few keys.

const parser = new DOMParser();

// Parts that say so are fetched anew, with the whole page, every few seconds.
function renewParts() {
  const parts = [...document.querySelectorAll("[data-live]")];
  if (parts.length === 0) return;
  const pause = 1000 * Math.min(...parts.map((part) => Number(part.dataset.live)));
  async function renew() {
    // What was awaited is over.
    if (!document.querySelector("[data-live]")) return;
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href);
        if (answer.ok) {
          const fresh = parser.parseFromString(await answer.text(), "text/html");
          for (const part of document.querySelectorAll("[data-live]")) {
            const next = fresh.getElementById(part.id);
            // What has the focus, or is pointed at, stays where it is.
            if (next && !part.contains(document.activeElement) && !part.matches(":active")) {
              part.replaceWith(document.adoptNode(next));
            }
          }
          document.body.classList.remove("lost");
        }
      } catch {
        document.body.classList.add("lost");
      }
    }
    setTimeout(renew, pause);
  }
  setTimeout(renew, pause);
}

const MOST_ROWS = 500;

function followTail() {
  const list = document.getElementById("tail");
  if (!list) return;
  const said = document.getElementById("connected");
  const pause = document.getElementById("pause");
  let waiting = [];
  let isPaused = false;

  function show(row) {
    const item = document.createElement("li");
    if (row.event_id === undefined) {
      item.textContent = `cannot be read: ${row.error}`;
    } else {
      const time = document.createElement("time");
      time.dateTime = row.time;
      time.textContent = row.time.slice(0, 19).replace("T", " ");
      const link = document.createElement("a");
      link.href = list.dataset.event + encodeURIComponent(row.event_id);
      link.textContent = row.event_id;
      const details = document.createElement("details");
      const summary = document.createElement("summary");
      summary.textContent = "payload";
      const data = document.createElement("pre");
      data.textContent = JSON.stringify(row.data ?? row.error, null, 2);
      details.append(summary, data);
      item.append(time, ` ${row.type} `, link, details);
    }
    list.prepend(item);
    while (list.children.length > MOST_ROWS) list.lastElementChild.remove();
  }

  const source = new EventSource(list.dataset.events);
  source.onopen = () => { said.textContent = "follows"; };
  source.onerror = () => { said.textContent = "the service does not answer; it is tried again"; };
  source.onmessage = (message) => {
    const row = JSON.parse(message.data);
    if (isPaused) {
      waiting = [...waiting.slice(1 - MOST_ROWS), row];
      said.textContent = `${waiting.length} are waiting`;
    } else {
      show(row);
    }
  };
  pause.hidden = false;
  pause.onclick = () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (!isPaused) {
      waiting.forEach(show);
      waiting = [];
      said.textContent = "follows";
    }
  };
}

// "/" goes to the search; o, p, g and t to the pages.
function knowKeys() {
  for (const link of document.querySelectorAll("nav a")) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
  }
  document.addEventListener("keydown", (press) => {
    if (press.ctrlKey || press.metaKey || press.altKey) return;
    if (press.target.matches("input, select, textarea")) return;
    if (press.key === "/") {
      press.preventDefault();
      document.getElementById("q")?.focus();
    } else {
      document.querySelector(`nav a[data-key="${CSS.escape(press.key)}"]`)?.click();
    }
  });
}

knowKeys();
renewParts();
followTail();
