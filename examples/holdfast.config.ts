// What `npm start` uses, as a file: `npm run -s holdfast -- serve --config examples/holdfast.config.ts`.
// Relative paths start at this file's folder. All options: docs/options.md.
import type { OpenOptions } from '../src/index.ts';

const config: OpenOptions = {
  journal: '../data/journal',
  target: 'sqlite:../data/holdfast.db',
  streams: {
    payments: { table: 'payments', key: ['tx_id'] },
  },
  server: { host: '127.0.0.1', port: 8080 },
};

export default config;
