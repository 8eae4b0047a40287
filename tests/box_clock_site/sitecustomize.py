"""For processes under libfaketime: it turns clock_nanosleep's absolute deadline, which time.sleep uses, into
decades where the clock is set far back. select takes a duration."""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
