# Dates of listings: RFC 3339, as S3 and those who speak its API send them, to microseconds since 1970, and those as
# datetimes. Pure; most of it needs no GIL.

import datetime

from cpython.datetime cimport datetime_new, import_datetime

import_datetime()

cdef object _UTC = datetime.timezone.utc
cdef object _EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_UTC)

cdef enum:
    _DAY_S = 86400
    _MICRO = 1000000

cdef int64_t _FIRST_S = -62135596800, _AFTER_LAST_S = 253402300800  # years 1 to 9999


cdef int _digits(const char *text, int count) noexcept nogil:
    # -1 when one of them is none.
    cdef int value = 0, i
    for i in range(count):
        if not 48 <= text[i] <= 57:
            return -1
        value = value * 10 + text[i] - 48
    return value


cdef int _days_in(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


cdef int64_t _days_before(int64_t year) noexcept nogil:
    # From 1970 to the 1st of March of a year, in the Gregorian calendar; years count from 1.
    return year * 365 + year // 4 - year // 100 + year // 400 - 719468


cdef bint _seconds(int year, int month, int day, const char *clock, int64_t *seconds) noexcept nogil:
    # Since 1970; the clock's "08:49:37". False when there is no such moment.
    cdef int hour = _digits(clock, 2), minute = _digits(clock + 3, 2), second = _digits(clock + 6, 2)
    cdef int64_t days
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= _days_in(year, month)):
        return False
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59) or clock[2] != 58 or clock[5] != 58:
        return False
    # Months counted from March, so that the leap day is the year's last.
    days = _days_before(year - (month <= 2)) + (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    seconds[0] = days * _DAY_S + hour * 3600 + minute * 60 + second
    return True


cdef object _datetime(int64_t us):
    cdef int64_t days = us // (<int64_t>_DAY_S * _MICRO), year, left, month
    cdef int64_t of_day = us - days * _DAY_S * _MICRO, second = of_day // _MICRO
    year = (days + 719468) * 400 // 146097 + 1
    while _days_before(year) > days:
        year -= 1
    left = days - _days_before(year)
    month = (5 * left + 2) // 153
    return datetime_new(year + (month >= 10), (month + 2) % 12 + 1, left - (153 * month + 2) // 5 + 1,
                        second // 3600, second // 60 % 60, second % 60, of_day % _MICRO, _UTC)


cdef bint _timestamp(const char *text, size_t length, int64_t *us) noexcept nogil:
    # False when it is not one. Beyond microseconds it is cut.
    cdef size_t at = 19
    cdef int micros = 0, scale = 100000
    cdef int64_t seconds = 0
    if length < 20 or text[4] != 45 or text[7] != 45 or text[10] != 84:
        return False
    if text[at] == 46:
        at += 1
        while at < length and 48 <= text[at] <= 57:
            micros += (text[at] - 48) * scale
            scale //= 10
            at += 1
        if at == 20:
            return False
    if not _seconds(_digits(text, 4), _digits(text + 5, 2), _digits(text + 8, 2), text + 11, &seconds):
        return False
    if not (length == at + 1 and text[at] == 90) and not _to_utc(text + at, length - at, &seconds):
        return False
    us[0] = seconds * _MICRO + micros
    return True


cdef bint _to_utc(const char *zone, size_t length, int64_t *seconds) noexcept nogil:
    # Of "+02:00". Nothing before year 1 or after 9999, which Python has no datetime for.
    cdef int hours, minutes
    if length != 6 or zone[0] not in (43, 45) or zone[3] != 58:
        return False
    hours, minutes = _digits(zone + 1, 2), _digits(zone + 4, 2)
    if not (0 <= hours <= 23 and 0 <= minutes <= 59):
        return False
    seconds[0] += (hours * 3600 + minutes * 60) * (-1 if zone[0] == 43 else 1)
    return _FIRST_S <= seconds[0] < _AFTER_LAST_S
