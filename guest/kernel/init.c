/* SPDX-License-Identifier: BSD-2-Clause */
/* The first process: a kernel thread that becomes /init with what the command line says. Its end is the machine's. */
#include "core/string.h"
#include "guest/arch/fp.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/panic.h"
#include "guest/kernel/process.h"
#include "guest/kernel/sched.h"
#include "guest/vm/gfp.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

static err_t add_all(struct exec_args *args, const char *const *words, unsigned count) {
  err_t e = ERR_OK;
  for (unsigned i = 0; e == ERR_OK && i < count; i++)
    e = exec_args_add(args, words[i]);
  return e;
}

static err_t try_exec(struct exec_args *args, const char *path) {
  *args = (struct exec_args){.argc = (uint16_t)(1 + bootargs.argc), .envc = (uint16_t)bootargs.envc};
  if (strlcpy(args->path, path, sizeof args->path) >= sizeof args->path)
    return ERR_NOSPC;
  err_t e = exec_args_add(args, path);
  if (e == ERR_OK)
    e = add_all(args, bootargs.argv, bootargs.argc);
  if (e == ERR_OK)
    e = add_all(args, bootargs.envp, bootargs.envc);
  return e == ERR_OK ? process_exec(args) : e;
}

static void init_thread(void) {
  pfn_t frame;
  err_t e = page_alloc(0, GFP_KERNEL | ALLOC_RETURN_CORE, &frame);
  if (e != ERR_OK)
    panic("no memory for init");
  struct exec_args *args = port_frame_ptr(frame);
  if (bootargs.init != NULL) {
    e = try_exec(args, bootargs.init);
  } else {
    e = try_exec(args, "/init");
    if (e == ERR_NOENT)
      e = try_exec(args, "/bin/init");
  }
  if (e != ERR_OK)
    panic("no init: %s: %s", args->path, err_name(e));
  page_free(frame, 0);
}

err_t process_start_init(void) {
  struct task *t;
  err_t e = task_alloc(false, &t);
  if (e != ERR_OK)
    return e;
  fp_fork(t);
  task_set_name(t, "init");
  task_set_entry(t, task_first_kernel, init_thread);
  sched_start(t);
  return ERR_OK;
}
