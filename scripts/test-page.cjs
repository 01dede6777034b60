// What `scripts/test-page` runs: a network of relays, the system, and a browser that looks at it. Everything is on loopback
// and in a directory of its own; whatever is started here is ended here.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const puppeteer = require('puppeteer-core');

const PROGRAM = path.resolve(process.env.GRASP_SYNC);
const PATIENCE = 90_000;
const SIZE = ['--repos', '40', '--roots', '300', '--replies', '1200'];
const pictures = process.argv[2] === '--screenshots' ? path.resolve(process.argv[3]) : null;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'grasp-sync-page-'));
const children = new Set();

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function waitFor(what, look) {
  const until = Date.now() + PATIENCE;
  let last;
  while (Date.now() < until) {
    last = await look().catch((error) => error.message);
    if (last === true) return;
    await sleep(200);
  }
  throw new Error(`${what} does not come: ${JSON.stringify(last)}`);
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function start(name, args, env = {}) {
  const log = fs.openSync(path.join(directory, `${name}.log`), 'a');
  const child = spawn(PROGRAM, args, { cwd: directory, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', log, log] });
  children.add(child);
  child.ended = new Promise((done) => child.once('exit', done)).then(() => children.delete(child));
  return child;
}

async function kill(child) {
  child.kill('SIGKILL');
  await child.ended;
}

class Stage {
  async open() {
    const ports = [];
    for (let i = 0; i < 5; i += 1) ports.push(await freePort());
    [this.home, ...this.upstreams] = ports.slice(0, 4).map((port) => `ws://127.0.0.1:${port}`);
    this.network = [...this.upstreams.flatMap((url) => ['--upstream', url]), ...SIZE];
    this.url = `http://127.0.0.1:${ports[4]}`;
    const listen = (port) => ['--listen', `127.0.0.1:${port}`];
    start('home', ['demo', 'serve', '--part', 'home', ...listen(ports[0])]);
    this.relays = this.upstreams.map((url, i) =>
      start(`upstream-${i + 1}`, ['demo', 'serve', '--part', `upstream-${i + 1}`, ...listen(ports[i + 1]), ...this.network]));
    for (const port of ports.slice(0, 4)) {
      await waitFor(`a relay on ${port}`, async () => (await fetch(`http://127.0.0.1:${port}`)).status > 0);
    }
  }

  async run() {
    const args = ['run', '--home', this.home, '--bootstrap', this.upstreams[0], '--allow-non-public', '127.0.0.0/8',
      '--data-dir', path.join(directory, 'data'), '--listen', this.url.slice('http://'.length)];
    const env = { GRASP_SYNC_DISCOVERY_WINDOW: '1s', GRASP_SYNC_LOOK_UP_NAMES: 'false' };
    this.system = start('run', args, env);
    await waitFor('the page', async () => (await fetch(this.url)).ok);
  }

  async publish() {
    await start('publish', ['demo', 'publish', ...this.network]).ended;
  }
}

const text = (page, selector) => page.$eval(selector, (one) => one.textContent);

async function opened(browser, url, { width = 1280, height = 900, dark = false, scripts = true } = {}) {
  const page = await browser.newPage();
  page.troubles = [];
  page.on('console', (said) => said.type() === 'error' && page.troubles.push(said.text()));
  page.on('pageerror', (error) => page.troubles.push(String(error)));
  await page.setJavaScriptEnabled(scripts);
  await page.setViewport({ width, height, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  return page;
}

async function draw(page, name) {
  if (pictures) await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: false });
}

async function isLiveWithoutAReload(stage, page) {
  await page.evaluate(() => { window.isTheSame = true; });
  await waitFor('a page that says complete', async () => (await text(page, 'h1')).trim() === '● Complete' || text(page, 'h1'));
  const before = await text(page, '.tiles > div:nth-child(2) .value');
  await stage.publish();
  await waitFor('more events at home', async () => (await text(page, '.tiles > div:nth-child(2) .value')) !== before);
  assert.equal(await page.evaluate(() => window.isTheSame), true, 'it was not loaded again');
}

async function isMeasured(stage) {
  const told = async (address) => (await fetch(stage.url + address)).text();
  const figures = await told('/metrics');
  for (const name of ['home_write_time_seconds_count', 'rounds_total{method="REQ"}', 'rounds_total{method="negentropy"}']) {
    const line = figures.split('\n').find((one) => one.startsWith(`grasp_sync_${name}`));
    assert.ok(line && Number(line.split(' ').pop()) > 0, `${name}: ${line}`);
  }
  assert.ok(!stage.upstreams.some((url) => figures.includes(url)), '/metrics names no upstream');
  assert.ok((await told('/metrics/upstreams')).includes(`{upstream="${stage.upstreams[1]}/"`));
}

async function survivesARestart(stage, page) {
  const focused = await page.evaluate(() => {
    const link = document.querySelector('tbody tr:nth-child(2) a');
    link.focus();
    return link.textContent;
  });
  await kill(stage.system);
  await waitFor('word of the lost connection', async () => (await text(page, '#lamp')).includes('Connection lost'));
  assert.ok(await page.$eval('#view', (view) => view.classList.contains('stale')));
  await stage.run();
  await waitFor('word of the connection that is back', async () => (await text(page, '#lamp')) === 'Live');
  await waitFor('a page that says complete again', async () => (await text(page, 'h1')).includes('Complete') || text(page, 'h1'));
  assert.equal(await page.evaluate(() => window.isTheSame), true, 'it was not loaded again');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), focused, 'the focus stays where it was');
  assert.equal(await page.$eval('#view', (view) => view.classList.contains('stale')), false);
}

async function aLostUpstreamIsSaid(stage, page) {
  await kill(stage.relays[2]);
  await waitFor('word of the lost upstream', async () => {
    const told = await page.$$eval('.troubles li', (all) => all.map((one) => one.textContent).join());
    return (told.includes(stage.upstreams[2]) && told.includes('down') && told.includes('dialed again by itself')) || told;
  });
  await waitFor('a verdict that says so', async () => (await text(page, 'h1')).includes('Complete up to') || text(page, 'h1'));
  const before = await text(page, 'h1');
  await waitFor('time that goes on', async () => (await text(page, 'h1')) !== before);
}

async function isReachedByKeyboard(stage, browser) {
  const page = await opened(browser, stage.url);
  const way = [];
  for (let i = 0; i < 6; i += 1) {
    await page.keyboard.press('Tab');
    way.push(await page.evaluate(() => {
      const { outlineStyle } = getComputedStyle(document.activeElement);
      return [document.activeElement.textContent.trim() || document.activeElement.id, outlineStyle !== 'none'];
    }));
  }
  const names = way.map(([name]) => name);
  assert.deepEqual(names.slice(0, 4), ['Skip to the content', 'grasp-sync', 'what', 'Explain']);
  assert.ok(way.every(([, isSeen]) => isSeen), `the focus is seen everywhere: ${JSON.stringify(way)}`);
  const nameless = [];
  const visit = (node) => {
    const needsName = ['link', 'button', 'searchbox', 'textbox', 'image', 'table', 'columnheader', 'rowheader'];
    if (needsName.includes(node.role) && node.role !== 'table' && !node.name) nameless.push(node);
    (node.children || []).forEach(visit);
  };
  const tree = await page.accessibility.snapshot({ interestingOnly: false });
  visit(tree);
  assert.deepEqual(nameless, []);
  const roles = JSON.stringify(tree);
  for (const role of ['banner', 'main', 'search', 'heading', 'columnheader', 'rowheader']) {
    assert.ok(roles.includes(`"role":"${role}"`), `${role} is there`);
  }
  await page.close();
}

async function worksWithoutScripts(stage, browser) {
  const page = await opened(browser, stage.url, { scripts: false });
  const rows = await page.$$eval('tbody tr', (all) => all.length);
  assert.ok(rows >= 4, `home and three upstreams: ${rows}`);
  assert.ok((await text(page, '#lamp')).includes('Reload'));
  await page.click('tbody tr:nth-child(2) th a');
  await waitFor('the page of an upstream', async () => (await text(page, 'pre')).startsWith('upstream ws://'));
  await page.close();
}

async function fitsOnAPhone(stage, browser) {
  const page = await opened(browser, stage.url, { width: 390, height: 844 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `nothing is wider than the screen: ${width}`);
  await page.$eval('#upstreams', (one) => one.scrollIntoView());
  await draw(page, 'page-phone');
  await page.close();
}

async function isDrawn(stage, browser) {
  const dark = await opened(browser, stage.url, { dark: true });
  await waitFor('a live page', async () => (await text(dark, '#lamp')) === 'Live');
  const ground = await dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [red] = ground.match(/\d+/g).map(Number);
  assert.ok(red < 60, `dark is dark: ${ground}`);
  await draw(dark, 'page-dark');
  const one = await opened(browser, `${stage.url}/explain?what=${encodeURIComponent(stage.upstreams[2])}`);
  await draw(one, 'page-upstream');
  assert.deepEqual([...dark.troubles, ...one.troubles], []);
  await dark.close();
  await one.close();
}

async function main() {
  const stage = new Stage();
  const browser = await puppeteer.launch({
    executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  });
  try {
    await stage.open();
    await stage.run();
    const page = await opened(browser, stage.url);
    await isLiveWithoutAReload(stage, page);
    await isMeasured(stage);
    await isReachedByKeyboard(stage, browser);
    await worksWithoutScripts(stage, browser);
    assert.deepEqual(page.troubles, [], 'nothing breaks the policy');
    await page.bringToFront();
    await survivesARestart(stage, page);
    await aLostUpstreamIsSaid(stage, page);
    // The chart has a sample a minute: it is drawn once there is something to see.
    if (pictures) await sleep(6 * 60_000);
    await draw(page, 'page');
    await fitsOnAPhone(stage, browser);
    await isDrawn(stage, browser);
    console.log(`the page passed in ${Math.round(process.uptime())} s`);
  } finally {
    await browser.close();
    for (const child of [...children]) await kill(child);
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
