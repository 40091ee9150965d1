// What the gateway does at this moment: rates by decision and reason, upstreams.

import { get } from './api.js';
import { h, svg } from './dom.js';
import { empty, failure, heading, loading, row, section, table } from './parts.js';

const EVERY_MS = 2000;
/** Two minutes of history. */
const KEPT = 60;
const BREAKDOWN = ['Route', 'Decision', 'Reason', 'Now', 'Since start'];

const perSecond = (rate) => (rate === 0 ? '0' : rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));
const sum = (series, wanted = () => true) =>
  series.filter(({ labels }) => wanted(labels)).reduce((total, { value }) => total + value, 0);
const key = (labels) => JSON.stringify(labels);

/** Shows it until the view is left; returns what ends it. */
export function live(place) {
  const history = [];
  let [before, timer, isOver, isPaused] = [null, 0, false, false];
  const body = h('div', { class: 'stack' }, loading('the numbers'));
  const problem = h('div', {});
  const pause = h('button', {
    type: 'button',
    onclick: () => {
      isPaused = !isPaused;
      pause.textContent = isPaused ? 'Resume' : 'Pause';
      if (!isPaused) { before = null; tick(); } else clearTimeout(timer);
    },
  }, 'Pause');

  const tick = async () => {
    clearTimeout(timer);
    if (isOver || isPaused) return;
    if (!document.hidden) {
      try {
        const now = { ...(await get('/v1/live')), seen: performance.now() };
        if (isOver || isPaused) return;
        problem.replaceChildren();
        draw(body, now, before, history);
        before = now;
      } catch (error) {
        if (isOver) return;
        before = null;
        problem.replaceChildren(failure(error));
      }
    }
    timer = setTimeout(tick, EVERY_MS);
  };
  place.replaceChildren(heading('Live', 'What the gateway does now; read again every 2 seconds.', pause), problem, body);
  tick();
  return () => { isOver = true; clearTimeout(timer); };
}

function draw(place, now, before, history) {
  const seconds = before ? (now.seen - before.seen) / 1000 : 0;
  const known = new Map((before?.decisions ?? []).map(({ labels, value }) => [key(labels), value]));
  const decisions = now.decisions.map(({ labels, value }) => {
    // A counter that went back began anew: the gateway was restarted.
    const grown = value - (known.get(key(labels)) ?? 0);
    return { labels, value, rate: seconds > 0 ? Math.max(grown < 0 ? value : grown, 0) / seconds : 0 };
  });
  const rate = (decision) => decisions.filter(({ labels }) => labels.decision === decision).reduce((total, each) => total + each.rate, 0);
  const [allowed, denied] = [rate('allow'), rate('deny')];
  if (before) history.push({ allowed, denied });
  if (history.length > KEPT) history.shift();
  place.replaceChildren(
    h('div', { class: 'tiles' },
      tile('Allowed', perSecond(allowed), 'a second', 'good'),
      tile('Denied', perSecond(denied), 'a second', 'bad'),
      tile('Under way', String(now.open_streams), 'requests with a token'),
      tile('Connections', String(now.open_connections), 'of clients'),
      tile('Tokens', String(sum(now.tokens_minted, ({ outcome }) => outcome === 'ok')), 'minted since start')),
    section('The last two minutes', chart(history)),
    section('Upstreams', now.upstreams.length === 0
      ? h('p', { class: 'faint' }, 'None is configured.')
      : h('ul', { class: 'upstreams' }, now.upstreams.map((each) => h('li', {},
        h('span', { class: `badge ${each.up ? 'active' : 'revoked'}` }, each.up ? 'Up' : 'Down'),
        h('span', { class: 'strong' }, each.upstream), h('code', {}, each.address))))),
    section('Decisions', decisions.length === 0
      ? empty('No requests yet.', 'As soon as one comes in, it is counted here.')
      : h('div', { class: 'scroll' }, table('Decisions by route and reason', BREAKDOWN, decisions
        .sort((a, b) => b.rate - a.rate || b.value - a.value)
        .map(({ labels, value, rate: each }) => row(BREAKDOWN, [
          labels.route === 'none' ? h('span', { class: 'faint' }, 'No route') : labels.route,
          h('span', { class: `badge ${labels.decision === 'allow' ? 'active' : 'revoked'}` }, labels.decision === 'allow' ? 'Allowed' : 'Denied'),
          labels.reason ? h('code', {}, labels.reason) : h('span', { class: 'faint' }, '–'),
          `${perSecond(each)}/s`, value.toLocaleString()]))))));
}

function tile(name, value, unit, kind = '') {
  return h('div', { class: `tile ${kind}` }, h('p', { class: 'tile-name' }, name), h('p', { class: 'tile-value' }, value), h('p', { class: 'faint small' }, unit));
}

/** Two stacked areas; the words beside it say the same. */
function chart(history) {
  const [width, height] = [KEPT - 1, 20];
  const most = Math.max(1, ...history.map(({ allowed, denied }) => allowed + denied));
  const start = KEPT - history.length;
  const area = (top, bottom, kind) => {
    const point = (at, value) => `${start + at},${(height - (value / most) * height).toFixed(2)}`;
    const over = history.map((each, at) => point(at, top(each)));
    const under = history.map((each, at) => point(at, bottom(each))).reverse();
    return svg('polygon', { points: [...over, ...under].join(' '), class: kind });
  };
  const last = history.at(-1) ?? { allowed: 0, denied: 0 };
  const label = `Requests a second: at most ${perSecond(most)}; now ${perSecond(last.allowed)} allowed and ${perSecond(last.denied)} denied.`;
  return [
    svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', class: 'chart', role: 'img', 'aria-label': label },
      area(({ allowed }) => allowed, () => 0, 'good'),
      area(({ allowed, denied }) => allowed + denied, ({ allowed }) => allowed, 'bad')),
    h('p', { class: 'legend faint small' }, h('span', { class: 'dot good' }), 'Allowed ', h('span', { class: 'dot bad' }), 'Denied ',
      h('span', {}, `Peak ${perSecond(most)}/s`)),
  ];
}
