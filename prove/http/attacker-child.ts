// The attackers' process: one siege of a server, by name and port, until it is told to stop; then
// it tells what became of its requests.
import process from 'node:process';
import { sieges } from './sieges.ts';

const [, , name = '', port = ''] = process.argv;
const siege = sieges.find((one) => one.name === name);
if (!siege) throw new Error(`there is no siege ${name}`);
const attack = siege.begin(Number(port));
const tellMs = 20;
const telling = setInterval(() => {
  if (!attack.isReady()) return;
  clearInterval(telling);
  process.send?.('ready');
}, tellMs);
process.on('disconnect', () => process.exit(1));
process.on('message', () => {
  attack.stop();
  // What was in flight counts once its connection is closed.
  setTimeout(() => {
    const { acknowledged, uncertain } = attack.counts;
    const counts = attack.counts.report();
    process.send?.({ counts, acknowledged, uncertain }, () => process.exit(0));
  }, tellMs);
});
