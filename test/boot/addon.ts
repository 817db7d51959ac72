import { expect } from 'vitest';
import { application, nodeos } from '../support.js';

/** An application whose addon starts a thread that needs 4 MB of stack. */
export const ADDON = {
  'package.json': JSON.stringify({ name: 'deep', version: '1.0.0', main: 'main.js' }),
  'binding.gyp': JSON.stringify({ targets: [{ target_name: 'deep', sources: ['deep.cc'] }] }),
  'deep.cc': `
    #include <node_api.h>
    #include <cstring>
    #include <thread>
    static int use(int depth) {
      char frame[1024];
      memset(frame, depth & 1, sizeof frame);
      volatile char *kept = frame;
      return depth == 0 ? 0 : kept[depth % 1024] + use(depth - 1);
    }
    static napi_value deep(napi_env env, napi_callback_info) {
      int sum = 0;
      std::thread([&] { sum = use(4000); }).join();
      napi_value result;
      napi_create_int32(env, sum, &result);
      return result;
    }
    NAPI_MODULE_INIT() {
      napi_value function;
      napi_create_function(env, "deep", NAPI_AUTO_LENGTH, deep, nullptr, &function);
      return function;
    }`,
  'main.js': '',
  // Binaries compiled for the host must not get into the image.
  'build/Release/deep.node': 'of the host',
  'build/Release/obj.target/deep.o': 'of the host',
};

/** Builds and starts it. @returns what its thread answers, and which files of the addon are in the image */
export async function stackInGuest(...options: string[]): Promise<string> {
  const app = await application(ADDON);
  const code = `console.log(require('./build/Release/deep.node')(), fs.readdirSync('build/Release'))`;
  const { status, stdout, stderr } = await nodeos('start', app, ...options, '--exec', code, '--timeout', '60');
  expect(status, stderr).toBe(0);
  return stdout;
}
