"""How many attempts are allowed, with a clock of our own."""

from concurrent.futures import ThreadPoolExecutor

from service.access.sessions import Throttle


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_attempt_beyond_the_limit_waits_until_the_first_is_forgotten() -> None:
    clock = _Clock()
    throttle = Throttle(3, 60, clock)
    for _ in range(3):
        assert throttle.attempt("a") == 0
        clock.now += 10
    assert throttle.attempt("a") == 30
    assert throttle.attempt("b") == 0
    clock.now += 29
    assert throttle.attempt("a") == 1
    clock.now += 1
    assert throttle.attempt("a") == 0
    assert throttle.attempt("a") == 10


def test_asking_while_waiting_does_not_make_it_longer() -> None:
    clock = _Clock()
    throttle = Throttle(1, 60, clock)
    assert throttle.attempt("a") == 0
    for _ in range(59):
        clock.now += 1
        assert throttle.attempt("a") > 0
    clock.now += 1
    assert throttle.attempt("a") == 0


def test_what_was_right_is_not_counted() -> None:
    throttle = Throttle(2, 60, _Clock())
    for _ in range(10):
        assert throttle.attempt("a") == 0
        throttle.forgive("a")
    throttle.forgive("unknown")
    assert [throttle.attempt("a") > 0 for _ in range(3)] == [False, False, True]


def test_what_was_right_does_not_forgive_what_was_wrong_before() -> None:
    throttle = Throttle(3, 60, _Clock())
    for _ in range(3):
        assert throttle.attempt("a") == 0
    throttle.forgive("a")
    assert [throttle.attempt("a") > 0 for _ in range(2)] == [False, True]


def test_attempts_at_the_same_moment_are_each_counted() -> None:
    throttle = Throttle(5, 60)
    with ThreadPoolExecutor(16) as pool:
        allowed = sum(wait == 0 for wait in pool.map(throttle.attempt, ["a"] * 200))
    assert allowed == 5
