/*
 * Calls, answers, deadlines and ends, as cores carry them out: a model for SPIN.
 *
 *   client ──▶ callers ◀─┐ one lock ┌─▶ receivers ◀── server          thread N runs on core N
 *                 └──── the core that ends a wait takes the thread out of its list, and answers it
 *
 * What stands between two semicolons is one step, before and after which other cores may do theirs; `atomic` is one
 * step, too. The names are those of kernel/src/object/endpoint.rs, kernel/src/ipc/mod.rs and kernel/src/sched/. loom
 * runs the kernel's own code in every order of its atomic accesses, with few threads that do few things; this model
 * runs for ever, and asks what must come at last.
 *
 * What is assumed: a core goes on, and gets a lock that it waits for (here they are given in turn; the kernel's are held
 * for few instructions); a server that has a call does something with it. More the kernel does not promise, either.
 *
 * CLIENTS, SERVERS: how many. LATE: calls and receivers may have deadlines. ENDS: the server may close its endpoint, at
 * any time. HOLDS: the server may do nothing any more, with a call or without. KILLS: the last client's process is ended, at any time.
 * Errors to be planted: NO_LOOK_BACK, NO_NUMBER, NO_WAKE, TAKE_FIRST_THEN_END, NO_FORGET, NO_KEPT_END.
 */

#define THREADS (CLIENTS + SERVERS)
#define NONE 7
/* Waits are numbered. The kernel's numbers do not come again; here one comes again that no core and no reply knows. */
#define NUMBERS (THREADS + SERVERS + 1)

mtype = { Running, Ready, Blocked, Owned, Ended };
mtype = { Nothing, Answer, Gone, TimedOut, Message };

mtype state[THREADS] = Running;
byte wait[THREADS];
/* Whether it waits in a list, or for the answer to a call that has been taken. */
bool in_list[THREADS];
/* What its call is answered with. */
mtype result[THREADS] = Nothing;
/* Whether its call has a deadline, and the core whose sleepers it stands among for that. */
bool late[THREADS];
byte sleeps_at[THREADS] = NONE;
/* A core holds the lock on the sleepers of this core. */
bool sleepers[THREADS];
bool ending[THREADS];
/* Interrupts are masked on this core. */
bool in_kernel[THREADS];

chan callers = [CLIENTS] of { byte };
chan receivers = [SERVERS] of { byte };
bool closed;
/* The call that a server's reply keeps, and the one that a core gives up or answers: the caller and the number of its
   wait. */
byte open[THREADS] = NONE;
byte open_wait[THREADS];
byte given_up[THREADS] = NONE;
byte given_up_wait[THREADS];

/* The lock on the two sides, given in turn. */
byte next;
byte served;
#define LOCK atomic { ticket = next; next++ }; served == ticket
#define UNLOCK atomic { served++; ticket = 0; if :: served == next -> served = 0; next = 0 :: else fi }

#define ENTER atomic { !in_kernel[me] -> in_kernel[me] = true }
#define LEAVE atomic { in_kernel[me] = false; candidate = 0; looked = 0; other = 0; won = false; passed = false }
#define LOCALS byte ticket, candidate, looked, other; bool won, passed

/* Before the thread runs again. */
inline forget_deadline(t) {
#ifdef NO_FORGET
	skip
#else
	if
	:: sleeps_at[t] != NONE ->
		/* Either this core takes it out of the other's sleepers, or that one's timer has had its try by then. */
		atomic { sleeps_at[t] == NONE || !sleepers[sleeps_at[t]] -> sleeps_at[t] = NONE }
	:: else
	fi
#endif
}

inline end_wait(t) {
	atomic { won = (state[t] == Blocked); if :: won -> state[t] = Owned :: else fi }
}

inline unblock(t) {
	end_wait(t);
	if :: won -> forget_deadline(t) :: else fi
}

inline unblock_from(t, number) {
	atomic {
		won = (state[t] == Blocked
#ifndef NO_NUMBER
			&& wait[t] == number
#endif
			);
		if :: won -> state[t] = Owned :: else fi
	};
	if :: won -> forget_deadline(t) :: else fi
}

inline make_ready(t) {
	atomic { assert(state[t] == Owned); state[t] = Ready }
}

inline refuse(t, why) {
	atomic { assert(state[t] == Owned && result[t] == Nothing); result[t] = why; state[t] = Ready }
}

/* Takes a thread whose wait this core has ended out of its list. `won`, unless it is not there any more: then the core
   that took it out goes on with it. */
inline cancel(t) {
	if
	:: in_list[t] ->
		LOCK;
		if
		:: callers ?? [eval(t)] -> callers ?? eval(t)
		:: receivers ?? [eval(t)] -> receivers ?? eval(t)
		:: else -> won = false
		fi;
		UNLOCK
	:: else
	fi
}

/* Under the lock: the first thread whose wait this core ends, or NONE; `passed` if others are about to take some away. */
inline take_first(list, taken) {
	atomic { taken = NONE; passed = false; looked = 0 };
	do
	:: taken == NONE && looked < len(list) ->
		/* To the end of the list, so that the next one is first: after all of them the order is as before. */
		atomic { list ? candidate; list ! candidate; looked++ };
#ifdef TAKE_FIRST_THEN_END
		list ?? eval(candidate);
		unblock(candidate);
		if :: won -> taken = candidate :: else -> passed = true fi
#else
		unblock(candidate);
		if
		:: won -> atomic {
				taken = candidate;
				list ?? eval(candidate);
				do
				:: looked <= len(list) -> list ? candidate; list ! candidate; looked++
				:: else -> break
				od
			}
		:: else -> passed = true
		fi
#endif
	:: else -> break
	od
}

#define KNOWN(place, t) (open[place] == t && open_wait[place] == wait[t] || \
	given_up[place] == t && given_up_wait[place] == wait[t])

#if THREADS > 2
#define KNOWN_ANYWHERE(t) (KNOWN(0, t) || KNOWN(1, t) || KNOWN(2, t))
#else
#define KNOWN_ANYWHERE(t) (KNOWN(0, t) || KNOWN(1, t))
#endif

inline renumber(t) {
	do
	:: wait[t] = (wait[t] + 1) % NUMBERS;
		if :: KNOWN_ANYWHERE(t) :: else -> break fi
	od
}

/* Under the lock: blocks in a list. `won` if the process is ending, and this core has to end the thread. */
inline block_in(list, t) {
	atomic { renumber(t); result[t] = Nothing; list ! t; in_list[t] = true; state[t] = Blocked };
#ifdef NO_LOOK_BACK
	won = false
#else
	if
	:: ending[t] ->
		unblock(t);
		if :: won -> list ?? eval(t) :: else fi
	:: else -> won = false
	fi
#endif
}

/* Under the lock: keeps a call until it is answered; the older one is to be given up. `won` as above. */
inline keep(server, caller) {
	atomic {
		given_up[me] = open[server]; given_up_wait[me] = open_wait[server];
		renumber(caller);
		open[server] = caller; open_wait[server] = wait[caller]; result[caller] = Nothing;
		in_list[caller] = false; state[caller] = Blocked
	};
	won = false;
#ifndef NO_KEPT_END
	if
	:: ending[caller] -> unblock_from(caller, open_wait[server])
	:: else
	fi
#endif
}

/* Under the lock: takes the call that is kept. */
inline take(server) {
	atomic { given_up[me] = open[server]; given_up_wait[me] = open_wait[server]; open[server] = NONE; open_wait[server] = 0 }
}

/* Ends the call that has been taken or replaced. */
inline give_up(why) {
	if
	:: given_up[me] != NONE ->
		unblock_from(given_up[me], given_up_wait[me]);
		if :: won -> refuse(given_up[me], why) :: else fi;
		atomic { given_up[me] = NONE; given_up_wait[me] = 0 }
	:: else
	fi
}

proctype Client(byte me) {
	LOCALS;
	bool dies;
	do
	:: ending[me] -> break
	:: else ->
		ENTER;
		LOCK;
		if
		:: closed -> UNLOCK; LEAVE; goto again
		:: else
		fi;
		take_first(receivers, other);
		if
		:: other == NONE && passed -> UNLOCK; LEAVE; goto again
		:: other == NONE && !passed ->
#ifdef LATE
			if :: true :: atomic { late[me] = true; sleeps_at[me] = me } fi;
#endif
			block_in(callers, me);
			dies = won;
			UNLOCK
		:: else ->
			UNLOCK;
			atomic { result[other] = Message; state[me] = Owned };
#ifdef LATE
			if :: true :: atomic { late[me] = true; sleeps_at[me] = me } fi;
#endif
			LOCK;
			keep(other, me);
			dies = won;
			UNLOCK;
			give_up(Gone);
			make_ready(other)
		fi;
		LEAVE;
		if :: dies -> break :: else fi;
		atomic { state[me] == Ready -> state[me] = Running };
		if :: ending[me] -> break :: else fi;
		assert(result[me] == Answer || result[me] == Gone || (result[me] == TimedOut && late[me]));
		assert(sleeps_at[me] == NONE && !(callers ?? [eval(me)]));
		atomic { result[me] = Nothing; late[me] = false };
again:
		skip
	od;
	assert(!(callers ?? [eval(me)]));
	state[me] = Ended
}

proctype Server(byte me) {
	LOCALS;
	do
	:: /* receive: what is kept is given up. */
		ENTER;
		LOCK;
		take(me);
		UNLOCK;
		give_up(Gone);
		LOCK;
		take_first(callers, other);
		if
		:: other == NONE && passed -> UNLOCK; LEAVE; goto again
		:: other == NONE && !passed ->
#ifdef LATE
			if :: true :: atomic { late[me] = true; sleeps_at[me] = me } fi;
#endif
			block_in(receivers, me);
			UNLOCK;
			LEAVE;
end_idle:
			atomic { state[me] == Ready -> state[me] = Running };
			assert(sleeps_at[me] == NONE);
			assert(result[me] == Message || (result[me] == TimedOut && late[me]));
			atomic { result[me] = Nothing; late[me] = false }
		:: else ->
			UNLOCK;
			/* From here on the deadline, if it has one, is among this core's. */
			if :: late[other] -> sleeps_at[other] = me :: else fi;
			LOCK;
			keep(me, other);
			UNLOCK;
			if :: won -> make_ready(other) :: else fi;
			give_up(Gone);
			LEAVE
		fi;
		/* It answers, or forgets the call. */
		if
		:: true ->
			ENTER;
			LOCK;
			take(me);
			UNLOCK;
			give_up(Answer);
			LEAVE
#ifdef HOLDS
		:: goto holds
#endif
		:: true
		fi;
again:
		skip
#ifdef ENDS
	:: break
#endif
#ifdef HOLDS
	:: goto holds
#endif
	od;
	/* Closes the endpoint, and then its reply. */
	ENTER;
	LOCK;
	closed = true;
	UNLOCK;
#ifndef NO_WAKE
	do
	:: LOCK;
		take_first(callers, other);
		UNLOCK;
		if :: other != NONE -> refuse(other, Gone) :: else -> break fi
	od;
#endif
	LOCK;
	take(me);
	UNLOCK;
	give_up(Gone);
	LEAVE;
	state[me] = Ended;
#ifdef HOLDS
holds:
end_holds:
	false
#endif
}

#ifdef LATE
#if THREADS > 2
#define HAS_SLEEPER (sleeps_at[0] == me || sleeps_at[1] == me || sleeps_at[2] == me)
#else
#define HAS_SLEEPER (sleeps_at[0] == me || sleeps_at[1] == me)
#endif

/* The timer of a core, which interrupts what runs there, but not the kernel. Every deadline comes. */
proctype Timer(byte me) {
	byte ticket, other;
	bool won;
end_idle:
	do
	:: atomic {
			HAS_SLEEPER && !in_kernel[me] && !sleepers[me] -> in_kernel[me] = true; sleepers[me] = true;
			other = 0;
			do
			:: other < THREADS && sleeps_at[other] != me -> other++
			:: else -> break
			od
		};
		end_wait(other);
		atomic { sleeps_at[other] = NONE; sleepers[me] = false };
		if
		:: won ->
			cancel(other);
			if :: won -> refuse(other, TimedOut) :: else fi
		:: else
		fi;
		atomic { in_kernel[me] = false; other = 0; won = false }
	od
}
#endif

#ifdef KILLS
/* Ends the process of the last client, from a core of its own. */
proctype Killer() {
	byte ticket, victim = CLIENTS - 1;
	bool won;
	ending[victim] = true;
	unblock(victim);
	if
	:: won ->
		cancel(victim);
		if :: won -> make_ready(victim) :: else fi
	:: else
	fi
}
#endif

init {
	byte t;
	atomic {
		for (t : 0 .. THREADS - 1) {
			if :: t < CLIENTS -> run Client(t) :: else -> run Server(t) fi;
#ifdef LATE
			run Timer(t)
#endif
		}
#ifdef KILLS
		run Killer()
#endif
	}
}

/* What comes at last. */
#ifdef HOLDS
#ifdef KILLS
/* A process that is ended ends, whoever has its call. */
ltl ends { [] (ending[0] -> <> (state[0] == Ended)) }
#else
/* A deadline comes, whoever has the call. */
ltl ends { [] (state[0] == Blocked && late[0] -> <> (state[0] != Blocked)) }
#endif
#else
/* Every wait of a client ends: with an answer, the end of the server, the deadline, or its own end. */
ltl ends { [] (state[0] == Blocked -> <> (state[0] != Blocked)) }
#endif
