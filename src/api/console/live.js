// What the gateway does at this moment: rates by decision and reason, upstreams.

import { get } from './api.js';
import { h, put, svg } from './dom.js';
import { badge, button, empty, failure, heading, loading, row, section, table } from './parts.js';
import { meaning } from './reasons.js';

const EVERY_MS = 2000;
/** Two minutes of history. */
const KEPT = 60;
/** Rates are over the last ten seconds. */
const WINDOW = 5;
/** Reading counts as use of the session: who went away does not go on using it. */
const ALONE_MS = 15 * 60_000;
const BREAKDOWN = ['Route', 'Decision', 'Reason', 'Now', 'Since start'];

const perSecond = (rate) => (rate === 0 ? '0' : rate < 0.1 ? '< 0.1' : rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString());
const sum = (series, wanted = () => true) =>
  series.filter(({ labels }) => wanted(labels)).reduce((total, { value }) => total + value, 0);
const key = (labels) => JSON.stringify(labels);

/** Shows it until the view is left; returns what ends it. */
export function live(place) {
  const history = [];
  let samples = [];
  let [timer, isOver, isPaused, touched] = [0, false, false, performance.now()];
  const body = h('div', { class: 'stack' }, loading('the numbers'));
  const problem = h('div', {});
  const pause = button('Pause', () => turn(!isPaused));
  const turn = (rests, why) => {
    isPaused = rests;
    pause.textContent = rests ? 'Resume' : 'Pause';
    samples = [];
    put(problem, why && h('p', { class: 'notice' }, why));
    clearTimeout(timer);
    if (!rests) tick();
  };
  const here = () => { touched = performance.now(); };

  const tick = async () => {
    clearTimeout(timer);
    if (isOver || isPaused) return;
    if (performance.now() - touched > ALONE_MS) {
      turn(true, 'Paused: nobody was here for a while.');
      return;
    }
    if (!document.hidden) {
      try {
        const now = { ...(await get('/v1/live')), seen: performance.now() };
        if (isOver || isPaused) return;
        problem.replaceChildren();
        samples = [...samples, now].slice(-WINDOW - 1);
        draw(body, samples, history);
      } catch (error) {
        if (isOver) return;
        samples = [];
        problem.replaceChildren(failure(error));
      }
    }
    timer = setTimeout(tick, EVERY_MS);
  };
  place.replaceChildren(heading('Live', 'What the gateway does now; read again every 2 seconds.', pause), problem, body);
  for (const sign of ['pointermove', 'keydown']) document.addEventListener(sign, here);
  tick();
  return () => {
    isOver = true;
    clearTimeout(timer);
    for (const sign of ['pointermove', 'keydown']) document.removeEventListener(sign, here);
  };
}

/** Decisions with how often each was made a second between two samples. */
function rates(now, before) {
  const seconds = before && before !== now ? (now.seen - before.seen) / 1000 : 0;
  const known = new Map((before?.decisions ?? []).map(({ labels, value }) => [key(labels), value]));
  return now.decisions.map(({ labels, value }) => {
    // A counter that went back began anew: the gateway was restarted.
    const grown = value - (known.get(key(labels)) ?? 0);
    return { labels, value, rate: seconds > 0 ? (grown < 0 ? value : grown) / seconds : 0 };
  });
}

const rateOf = (decisions, decision) =>
  decisions.filter(({ labels }) => labels.decision === decision).reduce((total, { rate }) => total + rate, 0);

function draw(place, samples, history) {
  const now = samples.at(-1);
  const decisions = rates(now, samples[0]);
  const [allowed, denied] = [rateOf(decisions, 'allow'), rateOf(decisions, 'deny')];
  if (samples.length > 1) {
    const last = rates(now, samples.at(-2));
    history.push({ allowed: rateOf(last, 'allow'), denied: rateOf(last, 'deny') });
  }
  if (history.length > KEPT) history.shift();
  put(place,
    h('div', { class: 'tiles' },
      tile('Allowed', perSecond(allowed), 'a second', 'good'),
      tile('Denied', perSecond(denied), 'a second', 'bad'),
      tile('Under way', now.open_streams.toLocaleString(), 'requests with a token'),
      tile('Connections', now.open_connections.toLocaleString(), 'of clients'),
      tile('Tokens', sum(now.tokens_minted, ({ outcome }) => outcome === 'ok').toLocaleString(), 'minted since start'),
      tile('Cut', sum(now.streams_cut).toLocaleString(), 'while under way, since start')),
    section('The last two minutes', chart(history)),
    h('div', { class: 'columns even' },
      section('Why requests are denied', reasons(decisions)),
      section('Upstreams', now.upstreams.length === 0
        ? h('p', { class: 'faint' }, 'None is configured.')
        : h('ul', { class: 'plain upstreams' }, now.upstreams.map((each) => h('li', {},
          h('div', {}, h('span', { class: 'strong' }, each.upstream), h('code', { class: 'faint block' }, each.address)),
          h('span', { class: `badge ${each.up ? 'active' : 'revoked'}` }, each.up ? 'Up' : 'Down')))))),
    section('Decisions by route', decisions.length === 0
      ? empty('No requests yet.', 'As soon as one comes in, it is counted here.')
      : h('div', { class: 'scroll' }, table('Decisions by route and reason', BREAKDOWN, decisions
        .sort((a, b) => b.rate - a.rate || b.value - a.value)
        .map(({ labels, value, rate }) => row(BREAKDOWN, [
          labels.route === 'none' ? h('span', { class: 'faint' }, 'No route') : labels.route,
          labels.decision === 'allow' ? badge('active', 'Allowed') : badge('revoked', 'Denied'),
          labels.reason ? h('code', {}, labels.reason) : h('span', { class: 'faint' }, '–'),
          `${perSecond(rate)}/s`, value.toLocaleString()]))))));
}

/** Each reason with its share; all routes together. */
function reasons(decisions) {
  const all = new Map();
  for (const { labels, value, rate } of decisions.filter((each) => each.labels.decision === 'deny')) {
    const before = all.get(labels.reason) ?? { value: 0, rate: 0 };
    all.set(labels.reason, { value: before.value + value, rate: before.rate + rate });
  }
  if (all.size === 0) return h('p', { class: 'faint' }, 'None was denied since the start.');
  const most = Math.max(...[...all.values()].map(({ value }) => value));
  return h('ul', { class: 'bars' }, [...all].sort(([, a], [, b]) => b.value - a.value).map(([reason, { value, rate }]) =>
    h('li', {},
      h('p', {}, h('code', {}, reason), h('span', {}, `${perSecond(rate)}/s · ${value.toLocaleString()}`)),
      h('p', { class: 'faint small' }, meaning(reason)),
      svg('svg', { viewBox: '0 0 100 1', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('rect', { width: '100', height: '1', class: 'rail' }),
        svg('rect', { width: Math.max(1, (value / most) * 100).toFixed(1), height: '1', class: 'bad' })))));
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
