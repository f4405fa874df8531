// Shows what the node says, and says so when it says nothing. All text comes from the node and is
// set as text, never as markup.
"use strict";

const SILENCE = 5000; // milliseconds; the node speaks every second
const EVENTS = 200;
const ROWS = 50;

const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
let last = 0;
let seen = 0;
let node = "";

function cell(row, text, classes) {
  const td = document.createElement("td");
  td.textContent = text;
  if (classes) td.className = classes;
  row.append(td);
  return td;
}

function fill(body, values, draw) {
  const rows = values.map((value) => {
    const row = document.createElement("tr");
    draw(row, value);
    return row;
  });
  body.replaceChildren(...rows);
}

const clock = (ms) => new Date(ms).toLocaleTimeString();
const share = (thousandths) => (thousandths / 10).toFixed(0) + " %";

function span(ms) {
  if (ms < 1000) return ms + " ms";
  return ms < 60000 ? (ms / 1000).toFixed(1) + " s" : Math.floor(ms / 60000) + " min";
}

function live() {
  last = Date.now();
  if (document.body.dataset.state === "live") return;
  document.body.dataset.state = "live";
  at("lost").hidden = true;
  at("connection-text").textContent = "live";
}

function lost() {
  if (document.body.dataset.state === "waiting" && last === 0) {
    at("connection-text").textContent = "no answer yet";
    return;
  }
  document.body.dataset.state = "lost";
  at("connection-text").textContent = "connection lost";
  at("lost").hidden = false;
  at("lost").textContent =
    "Node " + node + " does not answer. What is shown is from " + clock(last) +
    " and may be wrong by now. This page asks again by itself; the other nodes can be asked too.";
}

function tiles(status, nodes) {
  const moves = status.moves;
  at("count-nodes").textContent = number.format(nodes.length);
  at("count-processes").textContent = number.format(status.processes);
  at("count-shards").textContent = number.format(status.shards.total);
  at("shards-label").textContent =
    status.shards.vacant ? "shards, " + status.shards.vacant + " without a home" : "shards";
  at("count-shards").className = status.shards.vacant ? "busy" : "";
  at("count-flights").textContent = number.format(moves.in_flight);
  at("count-rate").textContent = number.format(Math.round(moves.per_second));
  at("count-moved").textContent = number.format(moves.moved);
  at("moved-label").textContent = moves.failed ? "moved, " + moves.failed + " failed" : "moved";
}

const STANDING = {
  serving: ["yes", "good"],
  evacuating: ["no, being emptied", "busy"],
  leaving: ["no, leaving", "busy"],
};

function glance(data) {
  const { status, nodes, moves } = data;
  node = status.node;
  document.title = status.hub;
  at("hub").textContent = status.hub;
  at("asked").textContent =
    "as node " + status.node + " knows it, " + clock(status.unix_ms) + "; " +
    (status.exclusive ? "ownership is exclusive" : "ownership by gossip");
  at("suspended").hidden = !status.suspended;
  at("suspended").textContent = "Node " + status.node + " stands still: " + status.suspended;
  tiles(status, nodes);
  const most = Math.max(1, ...nodes.map((member) => member.processes));
  fill(at("nodes"), nodes, (row, member) => {
    row.dataset.node = member.name;
    cell(row, member.name + (member.here ? " (this one)" : ""));
    const [takes, style] = STANDING[member.standing] || [member.standing, ""];
    const weightless = member.standing === "serving" && member.weight === 0;
    cell(row, weightless ? "no, weight 0" : takes, weightless ? "" : style);
    cell(row, number.format(member.processes), "number");
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.style.width = (100 * member.processes) / most + "%";
    cell(row, "", "wide").append(bar);
    cell(row, number.format(member.shards), "number");
    // Who runs uses memory: none said means that it was not measured.
    const known = (text) => (member.load.memory > 0 ? text : "–");
    cell(row, known(number.format(member.load.queued)), "number extra");
    cell(row, known(share(member.load.processor)), "number extra");
    cell(row, known(share(member.load.memory)), "number extra");
    cell(row, member.address, "extra");
    cell(row, member.version, "extra");
  });
  const silent = moves.unknown.join(", ");
  at("moves-unknown").hidden = !silent;
  at("moves-unknown").textContent = silent &&
    "not known, and not counted, are moves ordered by " + silent + ": no answer";
  const more = moves.in_flight - moves.moves.length;
  at("moves-more").hidden = more <= 0;
  at("moves-more").textContent = "the longest; " + number.format(more) + " more are not shown";
  at("no-moves").hidden = moves.in_flight > 0;
  fill(at("moves"), moves.moves, (row, move) => {
    cell(row, move.process);
    cell(row, move.from + " → " + move.to);
    cell(row, span(move.elapsed_ms), "number");
    cell(row, "ordered by " + move.home, "extra");
  });
}

function happened(event) {
  if (event.seq <= seen) return;
  seen = event.seq;
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = clock(event.unix_ms);
  const text = document.createElement("span");
  text.textContent = event.text;
  text.className = event.weight;
  line.append(time, text);
  at("events").prepend(line);
  while (at("events").childElementCount > EVENTS) at("events").lastElementChild.remove();
}

let searching = null;

async function search() {
  if (searching) searching.abort();
  searching = new AbortController();
  const prefix = at("search").value;
  const query = new URLSearchParams({ prefix, limit: ROWS + 1 });
  try {
    const answer = await fetch("/v1/processes?" + query, { signal: searching.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const lines = (await answer.text()).split("\n").filter((line) => line);
    const found = lines.map((line) => JSON.parse(line));
    const more = found.length > ROWS;
    at("found").textContent = more
      ? "some of those that fit; type more of the id to see fewer"
      : found.length ? number.format(found.length) + " found" : "none found";
    fill(at("processes"), found.slice(0, ROWS), (row, process) => {
      const active = process.hosts.find((host) => host.role === "active");
      const others = process.hosts.filter((host) => host !== active);
      cell(row, process.id);
      cell(row, active ? active.node : "nobody now", active ? "" : "bad");
      cell(row, others.map((host) => host.node + " (" + host.role + ")").join(", "));
      cell(row, process.kind, "extra");
      cell(row, process.shard, "number extra");
      cell(row, process.home || "none", "extra");
      cell(row, active ? active.epoch : "", "extra");
    });
  } catch (error) {
    if (error.name !== "AbortError") at("found").textContent = "cannot be searched: " + error.message;
  }
}

function follow() {
  const source = new EventSource("/live");
  // A node that was started again counts from the beginning.
  source.onopen = () => { seen = 0; at("events").replaceChildren(); };
  source.addEventListener("glance", (message) => { live(); glance(JSON.parse(message.data)); });
  source.addEventListener("happened", (message) => { live(); happened(JSON.parse(message.data)); });
  source.onerror = () => {
    lost();
    // The browser gives up after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

let typed = 0;
at("search").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(search, 150);
});
setInterval(() => { if (last && Date.now() - last > SILENCE) lost(); }, 1000);
setInterval(() => { if (!document.hidden && document.body.dataset.state === "live") search(); }, 3000);
follow();
search();
