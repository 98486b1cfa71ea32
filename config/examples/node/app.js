// A web service whose database user changes while it runs. GET / answers as whom it works.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import pg from 'pg';

const file = process.env.DATABASE_URL_FILE ?? '/lessor/secrets/url';
// The file is replaced as a whole, so user and password always belong together.
const currentUrl = () => readFileSync(file, 'utf8').trim();

function open(url) {
  const pool = new pg.Pool({ connectionString: url, max: 5 });
  // An idle connection that the server ends is no reason to end the program.
  pool.on('error', (error) => console.error('idle connection:', error.message));
  return pool;
}

let url = currentUrl();
let pool = open(url);

// Whoever waits for a connection of a pool that is ended waits for ever, so they are served first.
async function retire(old) {
  while (old.waitingCount > 0) await once(old, 'release');
  await old.end();
}

// The folder may be exchanged just while it is read: the next look finds the file.
function look() {
  try {
    return currentUrl();
  } catch (error) {
    console.error(error.message);
    return url;
  }
}

setInterval(() => {
  const found = look();
  if (found === url) return;
  const old = pool;
  url = found;
  pool = open(url);
  console.log('working as', new URL(url).username);
  retire(old);
}, 1000);

async function work() {
  const client = await pool.connect();
  try {
    await client.query("INSERT INTO notes (body) VALUES ('from Node')");
    const { rows } = await client.query('SELECT current_user AS name');
    return rows[0].name;
  } finally {
    client.release();
  }
}

createServer(async (_request, response) => {
  try {
    response.end(await work());
  } catch (error) {
    console.error(error);
    response.writeHead(500).end('the database does not answer');
  }
}).listen(process.env.PORT ?? 8080);

process.on('SIGTERM', () => process.exit(0));
