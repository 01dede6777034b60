// Keeps the page up to date. The server renders everything; without this file the page is only not live.
'use strict';

const view = document.getElementById('view');
const lamp = document.getElementById('lamp');
// Milliseconds without a word after which the connection counts as lost; the server says every ten seconds that it lives.
const SILENCE = 25000;
const AGAIN = 3000;
let source = null;
let heard = Date.now();
let skew = 0;

function say(word, text) {
  if (lamp.dataset.word === word) return;
  lamp.dataset.word = word;
  lamp.textContent = text;
  view.classList.toggle('stale', word === 'lost');
}

// Makes `old` look like `fresh` and keeps what need not change, and with it focus, selection and scroll positions.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return void old.replaceWith(fresh.cloneNode(true));
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.nodeValue = fresh.nodeValue);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  children(old, fresh);
}

function children(old, fresh) {
  const keyed = new Map([...old.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  let place = old.firstChild;
  for (const wish of fresh.childNodes) {
    const known = wish.dataset && wish.dataset.key ? keyed.get(wish.dataset.key) : null;
    if (known && known !== place) {
      old.insertBefore(known, place);
      morph(known, wish);
    } else if (place && !(wish.dataset && wish.dataset.key && !known)) {
      const next = place.nextSibling;
      morph(place, wish);
      place = next;
    } else {
      old.insertBefore(wish.cloneNode(true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function show(html) {
  const fresh = new DOMParser().parseFromString('<main>' + html + '</main>', 'text/html').querySelector('main');
  const trouble = fresh.querySelector('[data-trouble] p');
  // What was there is worth more than nothing, as long as it is said to be old.
  if (trouble && !view.querySelector('[data-trouble]')) return void say('lost', trouble.textContent);
  alive();
  children(view, fresh);
  measure();
  tick();
}

// The server's clock counts, not the browser's.
function measure() {
  const stamp = [...view.querySelectorAll('time[data-now]')].pop();
  if (stamp) skew = Number(stamp.dataset.now) - Date.now() / 1000;
}

function span(secs) {
  if (secs < 120) return secs + ' s';
  if (secs < 7200) return Math.floor(secs / 60) + ' min';
  if (secs < 172800) return Math.floor(secs / 3600) + ' h';
  return Math.floor(secs / 86400) + ' d';
}

function tick() {
  const now = Math.floor(Date.now() / 1000 + skew);
  for (const stamp of view.querySelectorAll('time[data-at]')) {
    const at = Number(stamp.dataset.at);
    const text = at > now ? 'in ' + span(at - now) : span(now - at) + ' ago';
    if (stamp.textContent !== text) stamp.textContent = text;
  }
  for (const stamp of view.querySelectorAll('time[data-since]')) {
    const text = span(Math.max(0, now - Number(stamp.dataset.since)));
    if (stamp.textContent !== text) stamp.textContent = text;
  }
  if (source && Date.now() - heard > SILENCE) again();
}

function again() {
  say('lost', 'Connection lost, trying again');
  if (source) source.close();
  source = null;
  setTimeout(listen, AGAIN);
}

function alive() {
  heard = Date.now();
  say('live', 'Live');
}

function listen() {
  if (source || document.hidden) return;
  heard = Date.now();
  source = new EventSource(view.dataset.live);
  source.addEventListener('open', () => { heard = Date.now(); });
  source.addEventListener('alive', () => { heard = Date.now(); });
  source.addEventListener('view', (news) => {
    heard = Date.now();
    show(JSON.parse(news.data));
  });
  // A browser tries again by itself after a lost connection, but not after a refusal.
  source.addEventListener('error', () => {
    if (source && source.readyState === EventSource.CLOSED) again();
    else say('lost', 'Connection lost, trying again');
  });
}

if (view.dataset.live) {
  measure();
  setInterval(tick, 1000);
  listen();
  // A page that nobody sees asks for nothing.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden && source) {
      source.close();
      source = null;
      say('paused', 'Paused');
    } else {
      listen();
    }
  });
}
