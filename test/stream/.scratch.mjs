// test/stream/streamed.ts
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build, Cache, plainProgress, targetOf } from "@nodeos/build";
import { writeErofs } from "@nodeos/fs";
import { rootTree, streamInitramfs } from "@nodeos/initramfs";
import { USR } from "@nodeos/runtime";
import { chooseAccelerator, imageAt, runMachine } from "@nodeos/vm";
import { systemOf } from "nodeos";
var target = targetOf("x86_64");
async function streamed(app, folder) {
  const layers = await systemOf(target, { app });
  const part = (name) => layers["initramfs-base"].step.inputs?.[name]?.inputs?.["input"];
  const names = Object.keys(layers["initramfs-base"].step.inputs ?? {});
  const natives = names.filter((name) => name.startsWith("app-")).map(part);
  const [app_, modules] = [part("app"), part("modules")];
  const init = layers.init.step;
  const steps = { init, stream: streamInitramfs(target, init), kernel: layers.kernel.step, usr: layers.usr.step };
  const more = { runtime: layers.runtime.step, ...app_ ? { app: app_ } : {}, ...modules ? { modules } : {} };
  const out = await outputs({ ...steps, ...more });
  const nativeOutputs = Object.values(await outputs(Object.fromEntries(natives.map((step, n) => [String(n), step]))));
  const { init: initOutput = "", runtime, ...rest } = out;
  const root = { init: initOutput, app: rest["app"], modules: rest["modules"], natives: nativeOutputs };
  const [image, small] = [join(folder, "root.erofs"), join(folder, "small.erofs")];
  await writeErofs(await rootTree({ ...root, runtime: runtime === void 0 ? void 0 : runtime }), image);
  await writeErofs(await rootTree(root), small);
  return {
    kernel: join(out["kernel"] ?? "", "vmlinux"),
    initramfs: join(out["stream"] ?? "", "initramfs-stream"),
    usr: await imageAt(join(out["usr"] ?? "", USR)),
    image,
    small
  };
}
async function outputs(steps) {
  const progress = plainProgress((text) => process.stderr.write(text));
  const built = await build(Object.values(steps), { progress, jobs: 2 });
  return Object.fromEntries(Object.keys(steps).map((name, index) => [name, built[index]?.output ?? ""]));
}
async function serve(port2, program, ...args) {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => said += chunk.toString());
  const ended = once(child, "close");
  for (; ; ) {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`);
    if (await answers(port2)) break;
    await sleep(20);
  }
  return {
    child,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    }
  };
}
function answers(port2) {
  return new Promise((resolve) => {
    const socket = connect(port2, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
var nbdkit = (port2, ...args) => serve(port2, "nbdkit", "--foreground", "--exit-with-parent", "--ipaddr=127.0.0.1", `--port=${port2}`, ...args);
var IP = "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off";
var accelerator;
async function boot(system2, options) {
  const { kernel, initramfs } = system2;
  accelerator ??= (await chooseAccelerator({ target, machine: "q35", kernel, initramfs, notes: join(new Cache().root, "accelerator.json") })).name;
  const stop = new AbortController();
  const events = [];
  const booted = { events, console: "" };
  let over = false;
  const ended = runMachine({
    target,
    machine: "q35",
    accelerator,
    memory: options.memory ?? "256M",
    cpus: 1,
    kernel,
    initramfs,
    usr: options.usr,
    append: ["nodeos.attempts=1", ...options.append],
    publish: options.port === void 0 ? [] : [{ protocol: "tcp", address: "127.0.0.1", host: options.port, guest: 80 }],
    extra: options.extra ?? [],
    onConsole: (chunk) => result.console += chunk.toString(),
    onEvent: (event) => events.push(event),
    signal: stop.signal,
    timeout: options.timeout ?? 120
  }).finally(() => over = true);
  ended.catch(() => void 0);
  const result = Object.assign(booted, {
    ended,
    async powerOff() {
      stop.abort();
      return ended;
    },
    async saw(pattern, seconds = 60) {
      for (const deadline = Date.now() + seconds * 1e3; ; ) {
        const match = pattern.exec(result.console);
        if (match) return match;
        if (over || Date.now() > deadline) throw new Error(`no ${String(pattern)} in:
${result.console}`);
        await sleep(20);
      }
    }
  });
  return result;
}

// test/bench/measure.ts
import { connect as connect2, createServer } from "node:net";
async function freePort() {
  const server2 = createServer();
  await new Promise((resolve) => server2.listen(0, "127.0.0.1", resolve));
  const { port: port2 } = server2.address();
  await new Promise((resolve) => server2.close(resolve));
  return port2;
}

// test/stream/scratch.ts
var system = await streamed("examples/fastify", "/tmp/rootnbd/img");
var port = await freePort();
var server = await nbdkit(port, "-r", "file", system.image);
var started = Date.now();
var machine = await boot(system, { append: [`root=nbd://10.0.2.2:${port}/root`, IP, ...process.argv.slice(2)], port: 18080, timeout: 25 });
for (; ; ) {
  const r = await fetch("http://127.0.0.1:18080/", { signal: AbortSignal.timeout(500) }).then((r2) => r2.text(), () => void 0);
  if (r !== void 0) {
    console.log(r, Date.now() - started);
    break;
  }
  if (Date.now() - started > 25e3) break;
  await new Promise((r2) => setTimeout(r2, 25));
}
await machine.powerOff().catch((e) => console.log(e));
console.log(machine.console, machine.events.map((e) => JSON.stringify(e)).join("\n"));
await server.kill();
