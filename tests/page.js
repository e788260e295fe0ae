// What the tests need in the page of a model, before its own script runs.
const tests = (() => {
  // Whether the page shows the answer to the case in its form.
  function isAnswered() {
    const {readyState} = document;
    return readyState == 'complete' && !$('main').hidden && $('results').ariaBusy == 'false';
  }

  // Open the link of each case, and return the value of the prediction and the text of the answer.
  async function predictLinks(links) {
    const results = $('results'), answers = [];
    const waitWhile = async busy => {
      while (results.ariaBusy == busy) await new Promise(resolve => setTimeout(resolve, 2));
    };
    for (const link of links) {
      location.hash = link;
      await waitWhile('false');
      schedule(0);  // without the pause after a change
      await waitWhile('true');
      answers.push([$('value').value, $('answer').textContent]);
    }
    return answers;
  }

  // The address and the size of everything that the page has loaded.
  function loaded() {
    const entries = ['navigation', 'resource'].flatMap(type => performance.getEntriesByType(type));
    return entries.map(({name, transferSize}) => [name.split(/[?#]/)[0], transferSize]);
  }

  // The columns of a stub, as a server describes them.
  const describe = (kind, training, more) =>
    ({kind, training, range: [training[0], training.at(-1)], frequent: [], ...more});
  const numbers = [...Array(17).keys()], shops = numbers.map(n => `shop ${n}`);
  const twoDigits = numbers.map(n => String(n + 1).padStart(2, '0'));
  const real = describe('real', numbers.map(n => n + 0.5)), image = '<img src=x onerror=alert(1)>';
  const allKinds = {
    'size "in" <b>m</b>': {...real, nullable: true},
    "it's a count": describe('integer', numbers),
    flag: describe('boolean', [0, 0, 1, 1]),
    colour: describe('category', [image, 'red'], {frequent: [image, 'red'], range: []}),
    shop: describe('category', shops, {frequent: shops, others: 54, range: []}),
    day: describe('datetime', twoDigits.map(n => `2023-01-${n}T00:00:00`), {format: '%d.%m.%Y'}),
    time: describe('datetime', twoDigits.map(n => `2023-01-08T${n}:00:00`)),
    note: describe('text', [], {range: [10, 90]}),
  };
  const manyColumns = Object.fromEntries([...Array(200).keys()].map(
    n => [`x${n}`, {...real, share: 1 / (n + 1)}]));

  // Answer the requests of the page instead of a server, with the value of the first column.
  function startStub(columns) {
    const stub = window.stub = {columns, requests: [], md5: '0', isDown: false};
    const model = {target: 'y', classes: [], notice: '', columns};
    const trained_on = {rows: 16, md5: '0', packages: {}};
    const contents = {
      schema: {paths: {'/predict': {post: {'x-model': model}}}},
      health: {model: {file: 'm.keras', version: null, md5: '0', trained_on}},
    };
    async function predict({rows}, signal) {
      const [name, value] = Object.entries(rows[0])[0];
      if (value === stub.held) await new Promise(resolve => stub.release = resolve);
      signal.throwIfAborted();
      const reasons = Object.fromEntries(Object.keys(rows[0]).slice(0, 8).flatMap(
        (column, n) => [[`reason_${n + 1}`, column], [`reason_${n + 1}_effect`, 1]]));
      const answers = rows.map(row => ({predicted: row[name] ?? 0, ...reasons}));
      return {rows: answers, model: {md5: stub.md5}};
    }
    window.fetch = async (path, {body, signal} = {}) => {
      if (stub.isDown) throw TypeError();
      const request = body && JSON.parse(body), name = path.split('/').at(-1);
      stub.requests.push({path, rows: request?.rows});
      const content = request ? await predict(request, signal) : contents[name];
      return {ok: true, json: async () => content};
    };
  }

  return {isAnswered, predictLinks, loaded, startStub, allKinds, manyColumns, one: {x0: real}};
})();
