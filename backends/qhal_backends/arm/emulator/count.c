/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A plugin for QEMU's code generator that counts executed guest instructions.
 *
 * This file alone, unlike the rest of the package, is under the GNU General Public License,
 * version 2 or (at your option) any later version, because it is loaded into QEMU. It is compiled
 * on the user's machine and never shipped as a binary.
 *
 * Whenever the guest calls getppid(2), the number of instructions that it has executed so far is
 * written to QEMU's log. An emulated program asks for that before and after what it wants counted.
 *
 * Debian ships no qemu-plugin.h; the declarations below are those functions of the documented
 * interface (docs/devel/tcg-plugins.rst) that are used here. Callbacks per translated block are in
 * every version of it; inline counters would be faster but changed between versions.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#ifndef PLUGIN_API_VERSION
#define PLUGIN_API_VERSION 1
#endif

#define EXPORT __attribute__((visibility("default")))
#define GETPPID 173 /* asm-generic/unistd.h, which arm64 uses */
#define NO_REGISTERS 0 /* QEMU_PLUGIN_CB_NO_REGS */

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

typedef void on_translation(plugin_id, struct qemu_plugin_tb *);
typedef void on_execution(unsigned vcpu, void *data);
typedef void on_syscall(plugin_id, unsigned vcpu, int64_t number, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation *);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution *, int flags,
                                                 void *data);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall *);
extern void qemu_plugin_outs(const char *);

EXPORT int qemu_plugin_version = PLUGIN_API_VERSION;

static uint64_t executed;

static void count(unsigned vcpu, void *instructions)
{
    (void)vcpu;
    /* Threads of the guest run side by side. */
    __atomic_fetch_add(&executed, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, count, NO_REGISTERS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(plugin_id id, unsigned vcpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)vcpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == GETPPID) {
        char line[48];
        snprintf(line, sizeof line, "executed %" PRIu64 "\n",
                 __atomic_load_n(&executed, __ATOMIC_RELAXED));
        qemu_plugin_outs(line);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
