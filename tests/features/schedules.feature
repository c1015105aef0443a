@SCH-6 @API-1 @DOC-1
Feature: Schedules
  A schedule makes a job at each of its times, one job a time. While its last job is not over, its overlap decides.

  Scenario: A schedule's time that has come becomes a job
    Given a schedule whose next time is far away
    When its time comes
    Then one job was made of it, which ends completed
    And the schedule has its next time

  Scenario: A schedule is fired by hand
    Given a schedule whose next time is far away
    When it is fired
    Then one job was made of it, which ends completed
    And its own times are as they were

  @JOB-3
  Scenario: A schedule is fired once under one key
    Given a schedule whose next time is far away
    And it was fired under the key "monday"
    When it is fired under the key "monday"
    Then the answer is 200 and calls it a duplicate
    And it names the first job, and the schedule was fired once

  Scenario: What overlaps is skipped
    Given a schedule that skips, with a job that runs
    When it is fired
    Then no job was made, and the schedule says which one was in the way

  Scenario: What overlaps is replaced
    Given a schedule that replaces, with a job that runs
    When it is fired
    Then the job that ran is canceled
    And there is a new job

  Scenario: A paused schedule has no next time
    Given a schedule whose next time is far away
    When it is paused
    Then it has no next time

  @ADM-6
  Scenario: A schedule that says nothing a calendar knows is refused
    Given no schedule
    When one is stored with the cron expression "61 * * * *"
    Then the answer is 400 with the code INVALID_SPEC
    And no schedule was stored
