const portuguese = {
  "API key": "Chave de API",
  "Choose, drop or paste pictures": "Escolha, solte ou cole imagens",
  "Classifying…": "Classificando…",
  "Clear": "Limpar",
  "Documentation": "Documentação",
  "JPEG, PNG, WebP, BMP, GIF or TIFF": "JPEG, PNG, WebP, BMP, GIF ou TIFF",
  "Metrics": "Métricas",
  "Model": "Modelo",
  "Not classified": "Não classificada",
  "Nothing yet.": "Nada ainda.",
  "Password": "Senha",
  "Recent requests": "Requisições recentes",
  "Refresh": "Atualizar",
  "Results": "Resultados",
  "Sign in": "Entrar",
  "Sign out": "Sair",
  "The service does not answer, or the file cannot be read.": "O serviço não responde ou o arquivo não pode ser lido.",
  "User": "Usuário",
  "cached": "do cache",
  "classes": "classes",
  "computed": "calculado",
  "or": "ou",
};

const language = /^(en|pt)\b/i.test(navigator.language) ? navigator.language : "en";
const t = (text) => (/^pt/i.test(language) && portuguese[text]) || text;

const percent = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const milliseconds = new Intl.NumberFormat(language, {
  style: "unit",
  unit: "millisecond",
  maximumSignificantDigits: 3,
});
const moment = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" });

const byId = (id) => document.getElementById(id);
const signIn = byId("sign-in");
const workspace = byId("workspace");
const files = byId("files");

// Pictures sent at once; browsers open about six connections, and the lists need some too.
const LANES = 4;

// Headers that hold the credentials. They outlive a reload, but not the tab.
const STORED = "relance-credentials";
let credentials = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");

function keep(headers) {
  credentials = headers;
  sessionStorage.setItem(STORED, JSON.stringify(headers));
}

const signedIn = () => Object.keys(credentials).length > 0;

/** Calls the API; throws an error with the problem's detail if it refuses. */
async function call(path, options) {
  let response;
  try {
    // With the browser's own credentials left out, it does not answer a 401 with its own dialog.
    response = await fetch(path, { ...options, headers: credentials, credentials: "omit" });
  } catch {
    throw new Error(t("The service does not answer, or the file cannot be read."));
  }
  if (response.ok) return response;
  // A proxy in front may refuse in words of its own.
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? `${response.status} ${response.statusText}`);
  if (response.status === 401) askToSignIn(error.message, response.headers.get("WWW-Authenticate"));
  throw error;
}

function askToSignIn(detail, challenge) {
  byId("sign-in-error").textContent = signedIn() ? detail : "";
  byId("basic").hidden = !challenge?.startsWith("Basic");
  byId("sign-out").hidden = workspace.hidden = true;
  keep({});
  signIn.hidden = false;
  signIn.querySelector("div:not([hidden]) input, form > label input").focus();
}

async function open() {
  const { models } = await (await call("models")).json();
  const model = models.find((model) => model.active);
  const { width, height } = model.input;
  byId("model").textContent =
    `${t("Model")} ${model.name}@${model.version} · ${model.classes.length} ${t("classes")} · ${width} × ${height}`;
  signIn.hidden = true;
  workspace.hidden = false;
  byId("sign-out").hidden = !signedIn();
  await listRecent();
}

const copyOf = (template) => byId(template).content.cloneNode(true).firstElementChild;

function setText(parent, texts) {
  for (const [selector, text] of Object.entries(texts)) parent.querySelector(selector).textContent = text;
}

function setPicture(parent, blob) {
  const picture = parent.querySelector("img");
  const url = URL.createObjectURL(blob);
  const done = () => URL.revokeObjectURL(url);
  picture.addEventListener("load", done);
  // Not every browser shows every format, TIFF for one; the frame then stays empty.
  picture.addEventListener("error", () => {
    done();
    picture.remove();
  });
  picture.src = url;
}

const source = (answer) => t(answer.cached ? "cached" : "computed");

function addCard(file) {
  const card = copyOf("result-template");
  setPicture(card, file);
  setText(card, { h3: file.name, ".answer": t("Classifying…") });
  return { card, file };
}

function showAnswer(card, answer) {
  const { width, height, format } = answer.image;
  setText(card, {
    ".answer": answer.prediction,
    ".facts": [
      milliseconds.format(answer.processing_time),
      source(answer),
      `${format.toUpperCase()} ${width} × ${height}`,
    ].join(" · "),
  });
  const bars = answer.top.map((score) => {
    const bar = copyOf("bar-template");
    setText(bar, { ".class": score.class, ".share": percent.format(score.confidence) });
    bar.style.setProperty("--share", score.confidence);
    return bar;
  });
  card.querySelector(".bars").replaceChildren(...bars);
}

function say(text) {
  const line = document.createElement("p");
  line.textContent = text;
  byId("log").append(line);
}

async function classify({ card, file }) {
  const body = new FormData();
  body.append("image", file);
  try {
    const answer = await (await call("predict", { method: "POST", body })).json();
    showAnswer(card, answer);
    say(`${file.name}: ${answer.prediction}, ${percent.format(answer.confidence)}`);
  } catch (error) {
    card.classList.add("failed");
    setText(card, { ".answer": t("Not classified"), ".facts": error.message });
    say(`${file.name}: ${error.message}`);
  }
  card.removeAttribute("aria-busy");
}

async function classifyAll(chosen) {
  if (chosen.length === 0 || workspace.hidden) return;
  const cards = [...chosen].map(addCard);
  byId("results").prepend(...cards.map(({ card }) => card));
  byId("results-section").hidden = false;
  const waiting = cards.values();
  const lane = async () => {
    for (const next of waiting) await classify(next);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  if (!workspace.hidden) await listRecent();
}

async function listRecent() {
  const list = byId("recent");
  const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
  try {
    const { requests } = await (await call("requests?limit=10")).json();
    byId("recent-note").textContent = requests.length === 0 ? t("Nothing yet.") : "";
    list.replaceChildren(...requests.map((record) => known.get(record.request_id) ?? recentItem(record)));
  } catch (error) {
    byId("recent-note").textContent = error.message;
  }
}

function recentItem(record) {
  const item = copyOf("recent-template");
  item.dataset.id = record.request_id;
  setText(item, {
    ".class": record.prediction,
    ".share": percent.format(record.confidence),
    ".name": record.image_name,
    time: moment.format(new Date(record.timestamp)),
    ".source": source(record),
  });
  item.querySelector("time").dateTime = record.timestamp;
  // An <img> cannot send the headers with the credentials. A picture that is gone leaves its frame empty.
  call(`requests/${record.request_id}/image`)
    .then((response) => response.blob())
    .then((blob) => setPicture(item, blob))
    .catch(() => {});
  return item;
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

signIn.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { user, password, key } = Object.fromEntries(new FormData(signIn));
  keep(key ? { "X-API-Key": key } : { Authorization: `Basic ${base64(`${user}:${password}`)}` });
  try {
    await open();
    signIn.reset();
    files.focus();
  } catch (error) {
    byId("sign-in-error").textContent = error.message;
  }
});

byId("sign-out").addEventListener("click", () => {
  keep({});
  location.reload();
});

// A plain link cannot send the headers either.
byId("metrics").addEventListener("click", async (event) => {
  if (!signedIn()) return;
  event.preventDefault();
  const metrics = await (await call("metrics")).text();
  location.assign(URL.createObjectURL(new Blob([metrics], { type: "text/plain; charset=utf-8" })));
});

byId("refresh").addEventListener("click", listRecent);

byId("clear").addEventListener("click", () => {
  byId("results").replaceChildren();
  byId("log").replaceChildren();
  byId("results-section").hidden = true;
  files.focus();
});

files.addEventListener("change", () => {
  classifyAll(files.files);
  // So that the same file can be chosen again.
  files.value = "";
});

addEventListener("paste", (event) => classifyAll(event.clipboardData.files));

addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("picker").classList.add("over");
});

addEventListener("dragleave", (event) => {
  // Without a related target it has left the window.
  if (!event.relatedTarget) byId("picker").classList.remove("over");
});

addEventListener("drop", (event) => {
  event.preventDefault();
  byId("picker").classList.remove("over");
  classifyAll(event.dataTransfer.files);
});

document.documentElement.lang = language;
for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.textContent);
open().catch((error) => {
  if (signIn.hidden) document.querySelector("main").textContent = error.message;
});
